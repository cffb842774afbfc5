"""What people ask for. The API and, through it, the CLI call these and nothing deeper."""

from godploy.deploy.acts.deploying import cancel, deploy, replay, restart, rollback
from godploy.deploy.acts.keeping import (
    create_repository,
    delete_volume,
    draft_plan,
    remove_secret,
    rotate_hook_secret,
    save_manifest,
    set_secrets,
)
from godploy.deploy.acts.running import run, start, stop

__all__ = [
    "cancel",
    "create_repository",
    "delete_volume",
    "deploy",
    "draft_plan",
    "remove_secret",
    "replay",
    "restart",
    "rollback",
    "rotate_hook_secret",
    "run",
    "save_manifest",
    "set_secrets",
    "start",
    "stop",
]
