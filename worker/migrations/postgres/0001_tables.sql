CREATE TABLE audiences (
    id UUID NOT NULL,
    organization_id UUID NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    config JSONB NOT NULL,
    config_hash TEXT NOT NULL,
    source_url TEXT,
    notify_emails TEXT[] DEFAULT '{}' NOT NULL,
    notify_on_manual BOOLEAN DEFAULT 'false' NOT NULL,
    refresh_cron TEXT DEFAULT '0 6 * * *' NOT NULL,
    refresh_window_minutes INTEGER DEFAULT '60' NOT NULL,
    timezone TEXT DEFAULT 'UTC' NOT NULL,
    daily_refresh_enabled BOOLEAN DEFAULT 'true' NOT NULL,
    next_slot_at TIMESTAMP WITH TIME ZONE,
    next_due_at TIMESTAMP WITH TIME ZONE,
    last_daily_date DATE,
    audience_size BIGINT DEFAULT '0' NOT NULL,
    last_refreshed_at TIMESTAMP WITH TIME ZONE,
    refreshed_by_run_id UUID,
    deleted_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT audiences_pkey PRIMARY KEY (id),
    CONSTRAINT audiences_organization_id_key UNIQUE (organization_id, id),
    CONSTRAINT audiences_name_length CHECK (char_length(name) BETWEEN 1 AND 255),
    CONSTRAINT audiences_status_known CHECK (status IN ('draft', 'active', 'paused')),
    CONSTRAINT audiences_config_hash_hex CHECK (config_hash ~ '^[0-9a-f]{64}$'),
    CONSTRAINT audiences_notify_emails_few CHECK (cardinality(notify_emails) <= 20),
    CONSTRAINT audiences_refresh_window_bounds CHECK (refresh_window_minutes BETWEEN 0 AND 1439),
    CONSTRAINT audiences_slot_with_due CHECK ((next_slot_at IS NULL) = (next_due_at IS NULL)),
    CONSTRAINT audiences_due_when_refreshed CHECK ((status = 'active' AND daily_refresh_enabled AND deleted_at IS NULL) = (next_due_at IS NOT NULL))
);

CREATE INDEX audiences_due ON audiences (next_due_at) WHERE next_due_at IS NOT NULL;

CREATE TABLE data_dates (
    data_date DATE NOT NULL,
    data_version BIGINT NOT NULL,
    people_version BIGINT NOT NULL,
    rows BIGINT NOT NULL,
    ready_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT data_dates_pkey PRIMARY KEY (data_date),
    CONSTRAINT data_dates_rows_some CHECK (rows > 0)
);

CREATE TABLE ticks (
    name TEXT NOT NULL,
    passed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT ticks_pkey PRIMARY KEY (name)
);

CREATE TABLE workers (
    name TEXT NOT NULL,
    lane TEXT NOT NULL,
    version TEXT NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    last_claim_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT workers_pkey PRIMARY KEY (name)
);

CREATE TABLE runs (
    id UUID NOT NULL,
    organization_id UUID NOT NULL,
    audience_id UUID NOT NULL,
    status TEXT NOT NULL,
    run_type TEXT NOT NULL,
    lane TEXT NOT NULL,
    priority SMALLINT DEFAULT '5' NOT NULL,
    config JSONB NOT NULL,
    config_hash TEXT NOT NULL,
    data_date DATE NOT NULL,
    result_key TEXT GENERATED ALWAYS AS ('res_' || replace(id::text, '-', '')) STORED NOT NULL,
    candidate_count BIGINT DEFAULT '0' NOT NULL,
    result_count BIGINT DEFAULT '0' NOT NULL,
    attempts INTEGER DEFAULT '0' NOT NULL,
    failures INTEGER DEFAULT '0' NOT NULL,
    solo BOOLEAN DEFAULT 'false' NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE NOT NULL,
    fence BIGINT DEFAULT '0' NOT NULL,
    claimed_by TEXT,
    lease_expires_at TIMESTAMP WITH TIME ZONE,
    next_attempt_at TIMESTAMP WITH TIME ZONE,
    first_claimed_at TIMESTAMP WITH TIME ZONE,
    idempotency_key TEXT,
    retry_of UUID,
    error_code TEXT,
    error_message TEXT,
    snapshot_key UUID,
    written_on DATE,
    results_expire_at TIMESTAMP WITH TIME ZONE,
    csv_defused BOOLEAN,
    started_at TIMESTAMP WITH TIME ZONE,
    completed_at TIMESTAMP WITH TIME ZONE,
    cancelled_at TIMESTAMP WITH TIME ZONE,
    finished_at TIMESTAMP WITH TIME ZONE,
    ready_email_sent_at TIMESTAMP WITH TIME ZONE,
    ready_email_export_id UUID,
    ready_email_error TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT runs_pkey PRIMARY KEY (id),
    CONSTRAINT runs_organization_id_fkey FOREIGN KEY(organization_id, audience_id) REFERENCES audiences (organization_id, id),
    CONSTRAINT runs_organization_id_key UNIQUE (organization_id, id),
    CONSTRAINT runs_status_known CHECK (status IN ('queued', 'running', 'completed', 'failed', 'cancelled')),
    CONSTRAINT runs_run_type_known CHECK (run_type IN ('manual', 'daily', 'preview')),
    CONSTRAINT runs_lane_known CHECK (lane IN ('manual', 'daily')),
    CONSTRAINT runs_priority_bounds CHECK (priority BETWEEN 0 AND 9),
    CONSTRAINT runs_counts_sane CHECK (candidate_count >= result_count AND result_count >= 0 AND attempts >= 0 AND failures >= 0),
    CONSTRAINT runs_idempotency_key_length CHECK (char_length(idempotency_key) BETWEEN 1 AND 120),
    CONSTRAINT runs_leased_when_running CHECK ((status = 'running') = (claimed_by IS NOT NULL AND lease_expires_at IS NOT NULL) AND (claimed_by IS NULL) = (lease_expires_at IS NULL)),
    CONSTRAINT runs_next_attempt_when_queued CHECK (next_attempt_at IS NULL OR status = 'queued'),
    CONSTRAINT runs_published_when_completed CHECK ((status = 'completed') = (completed_at IS NOT NULL AND snapshot_key IS NOT NULL AND written_on IS NOT NULL AND results_expire_at IS NOT NULL AND csv_defused IS NOT NULL)),
    CONSTRAINT runs_cancelled_with_time CHECK ((status = 'cancelled') = (cancelled_at IS NOT NULL)),
    CONSTRAINT runs_finished CHECK ((status IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    CONSTRAINT runs_failed_with_code CHECK (status <> 'failed' OR error_code IS NOT NULL),
    CONSTRAINT runs_completed_without_code CHECK (status <> 'completed' OR error_code IS NULL),
    CONSTRAINT runs_code_with_sentence CHECK ((error_code IS NULL) = (error_message IS NULL)),
    CONSTRAINT runs_retry_of_fkey FOREIGN KEY(organization_id, retry_of) REFERENCES runs (organization_id, id) ON DELETE SET NULL (retry_of)
)
 WITH (fillfactor = 80);

CREATE INDEX runs_due ON runs (lane, organization_id, priority, due_at) WHERE status = 'queued';

CREATE INDEX runs_finished ON runs (finished_at) WHERE finished_at IS NOT NULL;

CREATE INDEX runs_leased ON runs (lease_expires_at) WHERE status = 'running';

CREATE INDEX runs_newest ON runs (created_at);

CREATE INDEX runs_of_audience ON runs (audience_id, created_at);

CREATE INDEX runs_retried ON runs (retry_of) WHERE retry_of IS NOT NULL;

CREATE UNIQUE INDEX runs_one_daily ON runs (audience_id, data_date) WHERE run_type = 'daily' AND status NOT IN ('failed', 'cancelled');

CREATE UNIQUE INDEX runs_one_manual_in_flight ON runs (audience_id, config_hash, data_date) WHERE run_type = 'manual' AND status IN ('queued', 'running');

CREATE TABLE exports (
    id UUID NOT NULL,
    organization_id UUID NOT NULL,
    audience_id UUID NOT NULL,
    run_id UUID NOT NULL,
    export_type TEXT DEFAULT 'csv' NOT NULL,
    status TEXT DEFAULT 'processing' NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE NOT NULL,
    fence BIGINT DEFAULT '0' NOT NULL,
    claimed_by TEXT,
    lease_expires_at TIMESTAMP WITH TIME ZONE,
    failures INTEGER DEFAULT '0' NOT NULL,
    storage_provider TEXT,
    content_type TEXT DEFAULT 'text/csv; charset=utf-8' NOT NULL,
    byte_size BIGINT,
    row_count BIGINT,
    bucket_name TEXT,
    file_id TEXT,
    file_name TEXT NOT NULL,
    content_sha1 TEXT,
    error_code TEXT,
    error_message TEXT,
    requested_by UUID,
    completed_at TIMESTAMP WITH TIME ZONE,
    expires_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT exports_pkey PRIMARY KEY (id),
    CONSTRAINT exports_audience_id_fkey FOREIGN KEY(organization_id, audience_id) REFERENCES audiences (organization_id, id),
    CONSTRAINT exports_organization_id_fkey FOREIGN KEY(organization_id, run_id) REFERENCES runs (organization_id, id) ON DELETE CASCADE,
    CONSTRAINT exports_organization_id_key UNIQUE (organization_id, id),
    CONSTRAINT exports_status_known CHECK (status IN ('processing', 'completed', 'failed')),
    CONSTRAINT exports_stored_when_completed CHECK (status <> 'completed' OR (completed_at IS NOT NULL AND expires_at IS NOT NULL AND file_id IS NOT NULL AND byte_size IS NOT NULL AND row_count IS NOT NULL AND content_sha1 IS NOT NULL)),
    CONSTRAINT exports_failed_with_code CHECK (status <> 'failed' OR error_code IS NOT NULL),
    CONSTRAINT exports_leased_when_claimed CHECK ((claimed_by IS NULL) = (lease_expires_at IS NULL)),
    CONSTRAINT exports_free_when_settled CHECK (status = 'processing' OR claimed_by IS NULL),
    CONSTRAINT exports_run_id_key UNIQUE (run_id)
);

CREATE INDEX exports_due ON exports (due_at) WHERE status = 'processing';

CREATE TABLE idempotency_keys (
    organization_id UUID NOT NULL,
    audience_id UUID NOT NULL,
    key TEXT NOT NULL,
    run_id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (audience_id, key),
    CONSTRAINT idempotency_keys_key_length CHECK (char_length(key) BETWEEN 1 AND 120),
    CONSTRAINT idempotency_keys_audience_id_fkey FOREIGN KEY(organization_id, audience_id) REFERENCES audiences (organization_id, id),
    CONSTRAINT idempotency_keys_run_id_fkey FOREIGN KEY(organization_id, run_id) REFERENCES runs (organization_id, id) ON DELETE CASCADE
);

CREATE INDEX idempotency_keys_run ON idempotency_keys (run_id);

CREATE TABLE ready_emails (
    id UUID NOT NULL,
    organization_id UUID NOT NULL,
    run_id UUID NOT NULL,
    recipient TEXT NOT NULL,
    generation INTEGER DEFAULT '1' NOT NULL,
    status TEXT DEFAULT 'pending' NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE NOT NULL,
    fence BIGINT DEFAULT '0' NOT NULL,
    claimed_by TEXT,
    lease_expires_at TIMESTAMP WITH TIME ZONE,
    attempts INTEGER DEFAULT '0' NOT NULL,
    message_id TEXT NOT NULL,
    sent_at TIMESTAMP WITH TIME ZONE,
    error TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT ready_emails_pkey PRIMARY KEY (id),
    CONSTRAINT ready_emails_organization_id_fkey FOREIGN KEY(organization_id, run_id) REFERENCES runs (organization_id, id) ON DELETE CASCADE,
    CONSTRAINT ready_emails_run_id_key UNIQUE (run_id, recipient, generation),
    CONSTRAINT ready_emails_status_known CHECK (status IN ('pending', 'sending', 'sent', 'failed', 'unknown', 'skipped')),
    CONSTRAINT ready_emails_sent_with_time CHECK ((status = 'sent') = (sent_at IS NOT NULL)),
    CONSTRAINT ready_emails_leased_when_claimed CHECK ((claimed_by IS NULL) = (lease_expires_at IS NULL)),
    CONSTRAINT ready_emails_claimed_when_sending CHECK (status <> 'sending' OR claimed_by IS NOT NULL),
    CONSTRAINT ready_emails_free_when_settled CHECK (status IN ('pending', 'sending') OR claimed_by IS NULL),
    CONSTRAINT ready_emails_message_id_key UNIQUE (message_id)
);

CREATE INDEX ready_emails_due ON ready_emails (due_at) WHERE status IN ('pending', 'sending');

CREATE TABLE run_attempts (
    run_id UUID NOT NULL,
    fence BIGINT NOT NULL,
    attempt INTEGER NOT NULL,
    charged BOOLEAN DEFAULT 'false' NOT NULL,
    worker TEXT NOT NULL,
    batch UUID,
    strategy TEXT,
    query_ids TEXT[] DEFAULT '{}' NOT NULL,
    snapshot_key UUID,
    data_version BIGINT,
    people_version BIGINT,
    started_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    outcome TEXT,
    error_code TEXT,
    error_message TEXT,
    read_rows BIGINT,
    read_bytes BIGINT,
    written_rows BIGINT,
    memory_bytes BIGINT,
    elapsed_ms BIGINT,
    CONSTRAINT run_attempts_pkey PRIMARY KEY (run_id, fence),
    CONSTRAINT run_attempts_outcome_when_ended CHECK ((ended_at IS NULL) = (outcome IS NULL)),
    CONSTRAINT run_attempts_outcome_known CHECK (outcome IN ('completed', 'retried', 'failed', 'released', 'rescued')),
    CONSTRAINT run_attempts_run_id_fkey FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);

ALTER TABLE runs SET (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02
);

-- The arrows of a run's life, and a fence that never goes back, whoever writes.
CREATE FUNCTION runs_life() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.status <> 'queued' THEN
            RAISE EXCEPTION 'a run is born queued, not %', NEW.status USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.fence < OLD.fence THEN
        RAISE EXCEPTION 'a fence never goes back' USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.status <> OLD.status AND (OLD.status, NEW.status) NOT IN (
        ('queued', 'running'),
        ('queued', 'cancelled'),
        ('running', 'queued'),
        ('running', 'completed'),
        ('running', 'failed')
    ) THEN
        RAISE EXCEPTION 'a run does not go from % to %', OLD.status, NEW.status USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER runs_life BEFORE INSERT OR UPDATE ON runs FOR EACH ROW EXECUTE FUNCTION runs_life();
