-- One chunk of a day's signals: few topics get most of them, few people send most, and some senders are unknown.
INSERT INTO intent_signals (data_date, topic_id, hem_hash, score)
WITH
$chance,
    concat('of ', toString({data_date:Date})) AS day,
    toUInt64(floor({topics:UInt64} * pow(unit(number, concat('topic ', day)), 2.2))) AS place,
    toUInt64(floor({people:UInt64} * 1.04 * pow(unit(number, concat('person ', day)), 1.3))) AS person
SELECT
    {data_date:Date},
    toUInt32({first_topic:UInt32} + {topic_step:UInt32} * place),
    cityHash64(hashed_email_of(person)),
    toUInt8(floor(100 * pow(unit(number, concat('score ', day)), 0.7)))
FROM numbers_mt({first:UInt64}, {count:UInt64})
