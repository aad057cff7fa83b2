-- A row says that this version of a data set is complete; the highest version of a day counts.
CREATE TABLE IF NOT EXISTS data_loads$of_shard$on_cluster
(
    dataset   LowCardinality(String) COMMENT 'signals or people',
    data_date Date,
    version   UInt64,
    rows      UInt64,
    loaded_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = $merge_tree
ORDER BY (dataset, data_date, version);
