-- What a completed run is compared with, what the comparison says, and whether anybody is told before a person looked.
ALTER TABLE runs
    ADD COLUMN compared_with UUID,
    ADD COLUMN people_new BIGINT,
    ADD COLUMN people_left BIGINT,
    ADD COLUMN anomaly TEXT,
    ADD COLUMN held BOOLEAN DEFAULT 'false' NOT NULL,
    ADD CONSTRAINT runs_compared_with_fkey FOREIGN KEY(organization_id, compared_with) REFERENCES runs (organization_id, id) ON DELETE SET NULL (compared_with),
    ADD CONSTRAINT runs_changes_sane CHECK ((people_new IS NULL) = (people_left IS NULL) AND people_new >= 0 AND people_left >= 0),
    ADD CONSTRAINT runs_anomaly_known CHECK (anomaly IN ('fell_to_zero', 'jumped', 'dropped')),
    ADD CONSTRAINT runs_compared_when_completed CHECK (status = 'completed' OR (compared_with IS NULL AND people_new IS NULL AND anomaly IS NULL)),
    ADD CONSTRAINT runs_held_when_anomalous CHECK (NOT held OR anomaly IS NOT NULL);

CREATE INDEX runs_compared ON runs (compared_with) WHERE compared_with IS NOT NULL;

CREATE INDEX runs_held ON runs (created_at) WHERE held;
