-- When the file of an export that is no longer offered left the storage.
ALTER TABLE exports ADD COLUMN removed_at TIMESTAMP WITH TIME ZONE;

ALTER TABLE exports ADD CONSTRAINT exports_removed_when_expired CHECK (removed_at IS NULL OR status = 'completed');

-- What retention looks for: files whose time is over, and old attempts.
CREATE INDEX exports_kept ON exports (expires_at) WHERE status = 'completed' AND removed_at IS NULL;

CREATE INDEX run_attempts_ended ON run_attempts (ended_at) WHERE ended_at IS NOT NULL;

-- What an erasure looks for: the runs that show a snapshot.
CREATE INDEX runs_showing ON runs (snapshot_key) WHERE status = 'completed';

-- People who are to be left out for good, by the hash that ClickHouse knows them by, and what was done about each.
CREATE TABLE erasures (
    id UUID NOT NULL,
    hem_hash NUMERIC(20, 0) NOT NULL,
    status TEXT DEFAULT 'running' NOT NULL,
    snapshots INTEGER DEFAULT '0' NOT NULL,
    runs INTEGER DEFAULT '0' NOT NULL,
    asked_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT erasures_pkey PRIMARY KEY (id),
    CONSTRAINT erasures_hem_hash_key UNIQUE (hem_hash),
    CONSTRAINT erasures_hem_hash_bounds CHECK (hem_hash BETWEEN 0 AND 18446744073709551615),
    CONSTRAINT erasures_status_known CHECK (status IN ('running', 'finished')),
    CONSTRAINT erasures_finished CHECK ((status = 'finished') = (finished_at IS NOT NULL))
);

-- Snapshots that an erasure writes anew, each noted before it is written. Rows go with the end of their erasure: they
-- tell which audiences a person was in.
CREATE TABLE rewrites (
    new_key UUID NOT NULL,
    erasure_id UUID NOT NULL,
    old_key UUID NOT NULL,
    written_on DATE NOT NULL,
    run_ids UUID[],
    CONSTRAINT rewrites_pkey PRIMARY KEY (new_key),
    CONSTRAINT rewrites_erasure_id_fkey FOREIGN KEY(erasure_id) REFERENCES erasures (id) ON DELETE CASCADE
);

CREATE INDEX rewrites_erasure ON rewrites (erasure_id);
