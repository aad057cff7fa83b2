-- Runs that ask the same question of the same data share one snapshot.
ALTER TABLE runs ADD COLUMN recompute BOOLEAN DEFAULT 'false' NOT NULL;

ALTER TABLE run_attempts ADD COLUMN plan_version BIGINT;

CREATE INDEX runs_shareable ON runs (organization_id, config_hash, data_date) WHERE status = 'completed' AND run_type <> 'preview';
