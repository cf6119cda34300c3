"""Uploaded files, kept in memory."""

import re
from dataclasses import dataclass

from bench.asgi import Json
from bench.standin.errors import ApiError


@dataclass(frozen=True, slots=True)
class File:
    id: str
    name: str
    mime_type: str
    content: bytes

    def info(self) -> Json:
        return {
            "type": "file",
            "id": self.id,
            "filename": self.name,
            "mime_type": self.mime_type,
            "size_bytes": len(self.content),
            "created_at": "2026-11-01T09:00:00Z",
            "downloadable": True,
        }


class Files:
    def __init__(self) -> None:
        self._files: dict[str, File] = {}

    def upload(self, id: str, content_type: str, body: bytes) -> Json:
        name, mime_type, content = _multipart_file(content_type, body)
        file = self._files[id] = File(id, name, mime_type, content)
        return file.info()

    def list(self) -> list[Json]:
        """Newest first."""
        return [file.info() for file in reversed(self._files.values())]

    def find(self, id: str) -> File:
        if id not in self._files:
            raise ApiError(404, f"File not found: {id}")
        return self._files[id]

    def delete(self, id: str) -> Json:
        del self._files[self.find(id).id]
        return {"id": id, "type": "file_deleted"}


def _multipart_file(content_type: str, body: bytes) -> tuple[str, str, bytes]:
    """Name, type and bytes of the part called `file`. By hand: the email parser would touch line ends."""
    boundary = re.search(r'boundary="?([^";]+)', content_type)
    if boundary:
        for part in (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode()):
            head, _, content = part.partition(b"\r\n\r\n")
            fields = head.decode("utf-8", "replace")
            if re.search(r'\bname="file"', fields):
                name = re.search(r'filename="([^"]*)"', fields)
                mime_type = re.search(r"(?im)^content-type:\s*([^\r\n]+)", fields)
                return (
                    name[1] if name else "unnamed",
                    mime_type[1] if mime_type else "application/octet-stream",
                    content,
                )
    raise ApiError(400, "file: Field required")
