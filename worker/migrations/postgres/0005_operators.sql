-- What people did to the system by hand; a line is written in the transaction of the act and never changed.
CREATE TABLE audit (
    id UUID NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    who TEXT NOT NULL,
    verb TEXT NOT NULL,
    object TEXT NOT NULL,
    CONSTRAINT audit_pkey PRIMARY KEY (id),
    CONSTRAINT audit_who_length CHECK (char_length(who) BETWEEN 1 AND 100)
);

CREATE INDEX audit_newest ON audit (at);

-- Organizations that may not run as much as others; 0 statements: nothing of theirs is claimed.
CREATE TABLE organization_limits (
    organization_id UUID NOT NULL,
    statements INTEGER NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT organization_limits_pkey PRIMARY KEY (organization_id),
    CONSTRAINT organization_limits_statements_bounds CHECK (statements BETWEEN 0 AND 1000)
);
