"""PostgreSQL's configuration and access rules, written anew at each start so that a moved folder works."""

import os
from collections.abc import Mapping
from pathlib import Path

from modelyard.stack.addresses import PORT

_MAP = "modelyard"

_SETTINGS = """\
# written by modelyard at each start: a change here does not last
listen_addresses = ''                 # no network: the Unix socket only
port = {port}
unix_socket_directories = '{socket}'
unix_socket_permissions = 0700
hba_file = '{folder}/pg_hba.conf'
ident_file = '{folder}/pg_ident.conf'
allow_alter_system = off
max_connections = 200                 # a worker has up to eight
shared_buffers = 96MB
work_mem = 8MB
maintenance_work_mem = 64MB
max_wal_size = 512MB
min_wal_size = 64MB
io_method = sync                      # short queries: no helper processes for reading
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
log_line_prefix = '%m [%p] %q%u@%d '
log_checkpoints = off
"""

_ACCESS = f"""\
# written by modelyard at each start: the operating system says who connects, pg_ident.conf says as whom they may
local all all peer map={_MAP}
"""


def write_config(folder: Path, *, socket: Path, roles: Mapping[str, str]) -> Path:
    """Write ``postgresql.conf``, ``pg_hba.conf`` and ``pg_ident.conf``; return the first.

    Args:
        folder: where to.
        socket: folder of the Unix socket.
        roles: operating system user → database role that this user may be; ``all`` stands for any.
    """
    lines = [f"{_MAP} {_quote(user)} {role}" for user, role in roles.items()]
    settings = _SETTINGS.format(port=PORT, socket=socket, folder=str(folder).replace("'", "''"))
    for name, text in (
        ("pg_hba.conf", _ACCESS),
        ("pg_ident.conf", "\n".join(lines) + "\n"),
        ("postgresql.conf", settings),
    ):
        path = folder / name
        path.write_text(text)
        path.chmod(0o640)
        # the folder's group: PostgreSQL's own account reads, and cannot change who may connect
        os.chown(path, -1, folder.stat().st_gid)
    return folder / "postgresql.conf"


def _quote(user: str) -> str:
    return '"' + user.replace('"', '""') + '"'
