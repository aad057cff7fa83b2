-- What has been counted of runs and mails that are over: totals that outlive the rows they were counted from.
CREATE TABLE totals (
    name TEXT NOT NULL,
    first TEXT NOT NULL,
    second TEXT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    CONSTRAINT totals_pkey PRIMARY KEY (name, first, second),
    CONSTRAINT totals_value_sane CHECK (value >= 0)
);

-- Up to when: one row, none before the first count.
CREATE TABLE counted (
    one BOOLEAN DEFAULT 'true' NOT NULL,
    until TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT counted_pkey PRIMARY KEY (one),
    CONSTRAINT counted_one_row CHECK (one)
);

CREATE INDEX ready_emails_settled ON ready_emails (updated_at) WHERE status NOT IN ('pending', 'sending');
