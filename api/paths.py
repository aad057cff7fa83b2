"""What stands in a path."""

from typing import Annotated
from uuid import UUID

from fastapi import Path

AudienceId = Annotated[UUID, Path(alias="id", description="The audience.")]
RunId = Annotated[UUID, Path(alias="runId", description="The run.")]
ExportId = Annotated[UUID, Path(alias="exportId", description="The export.")]
