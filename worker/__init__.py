"""
The house: config -> queued run -> claim -> plan -> ClickHouse -> snapshot -> complete -> export -> ready email.

Arrows only go down; rooms on one floor never import each other (pyproject.toml and tests/test_house.py hold this).

    6 operator  cli
    5 doors     scheduler.beat -> scheduler.ticks -> tasks · api · local
    4 stories   drain -> indexing · batch · materialize -> attempt; announce · rescue · daily · manual · redo ·
                newcomers · follow · migrate · prune · erase
    3 rooms     runs · audiences · loads · serving · selections · snapshots · changes · exports · emails · keys ·
                organizations · audit · presence · figures · report · ticked · erasures
    2 outside   clickhouse · storage · mailer · lease · hearing
    1 base      app -> log, database -> models
    0 leaves    serving_plan -> plan -> audience -> filters -> person · csv_format -> person · settings -> backoff ·
                due · ddl · links · letter · errors

A door calls one story or one room. A story may call several rooms and hold one ``transaction()`` across them.
Rooms return values; doors ring bells, by task name, after the commit. Leaves touch no database, network or clock.
"""
