-- How many people the audience's topics match, and how many of them pass its filters: one row.
WITH
$who
SELECT candidates, results
FROM (SELECT count() AS candidates FROM candidates) AS matching, (SELECT count() AS results FROM results) AS passing
