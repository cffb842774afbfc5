"""What people ask for. The API and, through it, the CLI call these and nothing deeper."""

from godploy.deploy.acts.attaching import (
    Elsewhere,
    attach_hosted,
    create_repository,
    ensure_hook,
    pin_host_keys,
    reconnect,
    rotate_hook_secret,
    scan_host_keys,
    set_login,
)
from godploy.deploy.acts.deploying import cancel, deploy, replay, restart, rollback
from godploy.deploy.acts.keeping import (
    delete_volume,
    draft_plan,
    remove_secret,
    save_manifest,
    set_secrets,
)
from godploy.deploy.acts.running import run, start, stop

__all__ = [
    "Elsewhere",
    "attach_hosted",
    "cancel",
    "create_repository",
    "delete_volume",
    "deploy",
    "draft_plan",
    "ensure_hook",
    "pin_host_keys",
    "reconnect",
    "remove_secret",
    "replay",
    "restart",
    "rollback",
    "rotate_hook_secret",
    "run",
    "save_manifest",
    "scan_host_keys",
    "set_login",
    "set_secrets",
    "start",
    "stop",
]
