-- A day's signals beside what filters ask about their people, ordered by topic. Texts are codes, cityHash64 of the
-- folded text and 0 for none. A piece belongs to one execution of one INSERT; only pieces that Postgres names are read.
CREATE TABLE IF NOT EXISTS serving_index$of_shard$on_cluster
(
    piece                  UInt64,
    topic_id               UInt32,
    hem_hash               UInt64,
    score                  UInt8,
    flags                  UInt16 COMMENT 'the first bit: the person is known; then the yes-or-no filters in order',
    company_employee_count Int64 COMMENT '-1 where it is not known',
    company_industry       UInt64,
    company_industry_group UInt64,
    company_revenue_range  UInt64,
    company_size           UInt64,
    seniority              UInt64,
    department             UInt64,
    geo_country_code       UInt64,
    geo_state_code         UInt64,
    geo_city               UInt64,
    demographics_age_range UInt64,
    demographics_gender    UInt64,
    company_name           UInt64,
    company_domain         UInt64,
    job_title              UInt64
)
ENGINE = $merge_tree
PARTITION BY piece
ORDER BY (topic_id, hem_hash);
-- The texts behind the codes of the fields that are searched for a part of the text.
CREATE TABLE IF NOT EXISTS serving_texts$of_shard$on_cluster
(
    piece UInt64,
    field LowCardinality(String),
    code  UInt64,
    text  String
)
ENGINE = $merge_tree
PARTITION BY piece
ORDER BY (field, code);
