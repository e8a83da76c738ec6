"""nginx as a cache that never looks twice at a name, as a cache of the OSDF."""

from __future__ import annotations

from pathlib import Path

from process import Server

LOG = "access.log"
CONFIGURATION = """\
daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 512; }
http {
  log_format lines escape=json '{"method":"$request_method","uri":"$request_uri",'
    '"status":"$status","size":"$body_bytes_sent","cache":"$upstream_cache_status"}';
  access_log access.log lines;
  client_body_temp_path body;
  proxy_temp_path temp;
  fastcgi_temp_path none;
  uwsgi_temp_path none;
  scgi_temp_path none;
  proxy_cache_path store levels=1:2 keys_zone=stash:4m inactive=365d use_temp_path=off;
  server {
    listen 127.0.0.1:PORT;
    location / {
      limit_except GET { deny all; }
      proxy_pass http://127.0.0.1:ORIGIN;
      proxy_cache stash;
      proxy_cache_key $uri;
      proxy_cache_valid 200 365d;
      proxy_ignore_headers Cache-Control Expires Vary Set-Cookie;
      proxy_cache_revalidate off;
      proxy_cache_lock on;
      proxy_buffering on;
      proxy_max_temp_file_size 0;
      add_header X-Cache $upstream_cache_status;
    }
  }
}
"""


def server(programs: Path, folder: Path, port: int, origin: int) -> Server:
    """The cache on a port, of the server on the port origin. Uploads are refused."""
    folder.mkdir(parents=True, exist_ok=True)
    text = CONFIGURATION.replace("PORT", str(port)).replace("ORIGIN", str(origin))
    (folder / "nginx.conf").write_text(text)
    words = [str(programs / "nginx"), "-p", f"{folder}/", "-c", "nginx.conf", "-e", "stderr"]
    return Server("nginx", folder, port, words)
