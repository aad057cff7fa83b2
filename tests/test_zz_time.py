import time
from sqlalchemy import create_engine, text
def test_x(servers, template):
    from sqlalchemy.engine import make_url
    import clickhouse_connect
    from worker import ddl
    e=create_engine(servers.postgres.url, isolation_level="AUTOCOMMIT")
    with e.connect() as c:
        for i in range(4):
            t=time.time(); c.execute(text(f"CREATE DATABASE x{i} TEMPLATE {template}")); a=time.time()
            c.execute(text(f"DROP DATABASE x{i} WITH (FORCE)")); b=time.time()
            print("pg", a-t, b-a)
    for i in range(3):
        t=time.time()
        with clickhouse_connect.get_client(dsn=servers.clickhouse.url, autogenerate_session_id=False) as cl:
            cl.command(f"CREATE DATABASE x{i}")
        a=time.time()
        with clickhouse_connect.get_client(dsn=servers.clickhouse.url.rsplit("/",1)[0]+f"/x{i}", autogenerate_session_id=False) as cl:
            for _, sql in ddl.statements(None, replicated=False, retention_days=90): cl.command(sql)
        b=time.time()
        print("ch", a-t,b-a)
