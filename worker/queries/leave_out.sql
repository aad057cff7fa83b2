-- More people whom no run may find, each once.
INSERT INTO erased_people (hem_hash)
SELECT arrayJoin({hem_hashes:Array(UInt64)}) AS hem_hash
WHERE hem_hash NOT IN (SELECT hem_hash FROM erased_people)
