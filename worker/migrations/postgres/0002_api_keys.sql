CREATE TABLE api_keys (
    id UUID NOT NULL,
    organization_id UUID NOT NULL,
    name TEXT NOT NULL,
    prefix TEXT NOT NULL,
    hash TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    last_used_at TIMESTAMP WITH TIME ZONE,
    revoked_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT api_keys_pkey PRIMARY KEY (id),
    CONSTRAINT api_keys_prefix_key UNIQUE (prefix),
    CONSTRAINT api_keys_name_length CHECK (char_length(name) BETWEEN 1 AND 100),
    CONSTRAINT api_keys_prefix_form CHECK (prefix ~ '^[0-9A-Za-z]{8}$'),
    CONSTRAINT api_keys_hash_hex CHECK (hash ~ '^[0-9a-f]{64}$')
);

CREATE INDEX api_keys_organization ON api_keys (organization_id);
