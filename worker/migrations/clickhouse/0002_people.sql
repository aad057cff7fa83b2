-- One row a person. Owners replace the table by EXCHANGE TABLES. A run reads scattered people:
-- hence short granules, each column's in a block of its own, and few files; and one part, ten minutes after a load, since
-- each part that somebody's hash may lie in is asked.
CREATE TABLE IF NOT EXISTS people$of_shard$on_cluster
(
    hem_hash                    UInt64 COMMENT 'cityHash64(hashed_email)',
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
ORDER BY hem_hash
SETTINGS
    index_granularity = 256,
    min_compress_block_size = 256,
    max_compress_block_size = 16384,
    string_serialization_version = 'single_stream',
    min_age_to_force_merge_seconds = 600,
    min_age_to_force_merge_on_partition_only = 1;
