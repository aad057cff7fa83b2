-- One more person whom no run may find, once.
INSERT INTO erased_people (hem_hash)
SELECT {hem_hash:UInt64} AS hem_hash
WHERE hem_hash NOT IN (SELECT hem_hash FROM erased_people)
