-- Take all rows of these keys out of one part of the table: the only delete that there is.
ALTER TABLE audience_results DELETE IN PARTITION {written_on:Date} WHERE snapshot_key IN {keys:Array(UUID)}
