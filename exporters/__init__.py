"""The exporters, by kind. Resolved when first used: an exporter that is not configured costs no import."""

BUILTIN: dict[str, str] = {
    "file": "exporters.file:File",
    "remote_write": "exporters.remote_write:RemoteWrite",
}
