-- How many people of a snapshot fall into its largest groups, by kind; people without the field have an empty name.
SELECT kind, ifNull(value, '') AS name, count() AS people
FROM
(
    SELECT
        arrayJoin([
            ('seniority', CAST(seniority, 'Nullable(String)')),
            ('industry', CAST(company_industry, 'Nullable(String)'))
        ]) AS pair,
        pair.1 AS kind,
        pair.2 AS value
    FROM audience_results
    WHERE written_on = {written_on:Date} AND snapshot_key = {snapshot_key:UUID}
)
GROUP BY kind, name
ORDER BY kind, people DESC, name
LIMIT {groups:UInt8} BY kind
