-- The frozen result rows of every execution, under its snapshot key. Retention drops whole parts, never rows. Short
-- granules: a page of results is a hundred rows of all columns.
CREATE TABLE IF NOT EXISTS audience_results$of_shard$on_cluster
(
    snapshot_key                UUID,
    written_on                  Date,
    rank                        UInt64 COMMENT 'from 1, without gaps',
    data_date                   Date,
    hem_hash                    UInt64,
    score                       UInt8,
    topic_overlap               UInt16,
    matched_topics              Array(Tuple(
        topic_id UInt32,
        name Nullable(String),
        type LowCardinality(Nullable(String)),
        industry LowCardinality(Nullable(String)),
        category LowCardinality(Nullable(String))
    )) COMMENT 'by score, highest first, then by topic_id',
    hashed_email                String,
    first_name                  Nullable(String),
    last_name                   Nullable(String),
    full_name                   Nullable(String),
    business_email              Nullable(String),
    personal_email              Nullable(String),
    email                       Nullable(String),
    primary_contact_email       Nullable(String),
    phone                       Nullable(String),
    linkedin_url                Nullable(String),
    headline                    Nullable(String),
    job_title                   Nullable(String),
    seniority                   LowCardinality(Nullable(String)),
    department                  LowCardinality(Nullable(String)),
    role_is_decision_maker      Nullable(Bool),
    role_is_ceo                 Nullable(Bool),
    role_is_vp                  Nullable(Bool),
    role_is_finance             Nullable(Bool),
    company_name                Nullable(String),
    company_domain              Nullable(String),
    company_industry            LowCardinality(Nullable(String)),
    company_industry_group      LowCardinality(Nullable(String)),
    company_revenue_range       LowCardinality(Nullable(String)),
    company_size                LowCardinality(Nullable(String)),
    company_employee_count      Nullable(UInt32),
    geo_city                    LowCardinality(Nullable(String)),
    geo_state                   LowCardinality(Nullable(String)),
    geo_state_code              LowCardinality(Nullable(String)),
    geo_country                 LowCardinality(Nullable(String)),
    geo_country_code            LowCardinality(Nullable(String)),
    demographics_age_range      LowCardinality(Nullable(String)),
    demographics_gender         LowCardinality(Nullable(String)),
    profile_years_of_experience Nullable(UInt32),
    profile_connections         Nullable(UInt32),
    compliance_do_not_call      Nullable(Bool),
    compliance_region           LowCardinality(Nullable(String)),
    source_provider             LowCardinality(Nullable(String)),
    source_last_seen_on         Nullable(Date)
)
ENGINE = $merge_tree
PARTITION BY written_on
ORDER BY (snapshot_key, rank)
TTL written_on + toIntervalDay($retention_days)
SETTINGS index_granularity = 1024, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;
