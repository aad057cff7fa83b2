-- Many runs share a statement; the serving index that they are picked from, and who builds it.
ALTER TABLE runs ADD COLUMN batch UUID;

ALTER TABLE runs ADD CONSTRAINT runs_batch_when_running CHECK (batch IS NULL OR status = 'running');

CREATE TABLE serving_indexes (
    id UUID NOT NULL,
    data_date DATE NOT NULL,
    data_version BIGINT NOT NULL,
    people_version BIGINT NOT NULL,
    plan_version BIGINT NOT NULL,
    status TEXT DEFAULT 'building' NOT NULL,
    pieces BIGINT[] DEFAULT '{}' NOT NULL,
    pieces_wanted INTEGER NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE NOT NULL,
    fence BIGINT DEFAULT '0' NOT NULL,
    claimed_by TEXT,
    lease_expires_at TIMESTAMP WITH TIME ZONE,
    failures INTEGER DEFAULT '0' NOT NULL,
    error_code TEXT,
    wanted_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    ready_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT serving_indexes_pkey PRIMARY KEY (id),
    CONSTRAINT serving_indexes_data_date_key UNIQUE (data_date, data_version, people_version, plan_version),
    CONSTRAINT serving_indexes_status_known CHECK (status IN ('building', 'ready', 'dropped')),
    CONSTRAINT serving_indexes_leased_when_claimed CHECK ((claimed_by IS NULL) = (lease_expires_at IS NULL)),
    CONSTRAINT serving_indexes_claimed_when_building CHECK (status = 'building' OR claimed_by IS NULL),
    CONSTRAINT serving_indexes_whole_when_ready CHECK (status <> 'ready' OR cardinality(pieces) = pieces_wanted),
    CONSTRAINT serving_indexes_ready_with_time CHECK ((status = 'building') = (ready_at IS NULL)),
    CONSTRAINT serving_indexes_pieces_some CHECK (pieces_wanted > 0 AND cardinality(pieces) <= pieces_wanted)
);
