"""An S3-compatible store: moto's server, which keeps its objects in memory."""

import contextlib
import http.client
import importlib
import sys
from typing import ClassVar

from local.process import HOST, Server

BUCKET = "exports"
ACCESS_KEY = "local"
# Any key is taken: the store answers on 127.0.0.1 alone and forgets everything when it ends.
SECRET_KEY = "local-secret"  # noqa: S105 - see above


class Storage(Server):
    """An S3-compatible store with one bucket, ``exports``; after a restart the bucket is there again, and empty."""

    name: ClassVar[str] = "S3"

    @property
    def endpoint(self) -> str:
        """The address that an S3 client takes as its endpoint."""
        return f"http://{HOST}:{self.port}"

    @property
    def url(self) -> str:
        """The bucket."""
        return f"s3://{BUCKET}"

    def environment(self) -> dict[str, str]:
        """STORAGE_URL, and the endpoint, region and keys that go with it."""
        return {
            "STORAGE_URL": self.url,
            "STORAGE_ENDPOINT": self.endpoint,
            "STORAGE_REGION": "us-east-1",
            "STORAGE_ACCESS_KEY": ACCESS_KEY,
            "STORAGE_SECRET_KEY": SECRET_KEY,
        }

    def prepare(self) -> None:
        """Nothing outlives the process, so nothing is made."""

    def command(self) -> list[str]:
        """The module itself, as a program."""
        return [sys.executable, "-m", "local.storage", str(self.port)]

    def answers(self) -> bool:
        """Whether the bucket is there; making it is the first request."""
        with contextlib.closing(http.client.HTTPConnection(HOST, self.port, timeout=5)) as connection:
            try:
                connection.request("PUT", f"/{BUCKET}", headers={"Host": f"{HOST}:{self.port}"})
                return connection.getresponse().status == http.HTTPStatus.OK
            except OSError:
                return False


def serve(port: int) -> None:
    """Run moto's server until the process ends."""
    # Half a second of imports that only the server's own process needs.
    importlib.import_module("moto.server").main(["-H", HOST, "-p", str(port)])


if __name__ == "__main__":
    serve(int(sys.argv[1]))
