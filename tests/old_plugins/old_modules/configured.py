"""A module that uses what DEEPaaS itself is made of: its options, its log, its exceptions."""

import deepaas
import deepaas.model
from deepaas import config, exceptions
from deepaas.model.v2 import base, wrapper
from oslo_config import cfg
from oslo_log import log

LOG = log.getLogger(__name__)
CONF = config.CONF
CONF.register_opts(
    [
        cfg.StrOpt("flavour", default="vanilla", help="An option of the module's own."),
        cfg.IntOpt("depth", default=3),
    ],
    group="old_configured",
)


def get_metadata():
    return {"name": "configured", "version": "1", "flavour": CONF.old_configured.flavour}


def predict():
    LOG.info("predicting with %s", CONF.old_configured.flavour)
    LOG.warning("a warning")
    return {
        "flavour": CONF.old_configured.flavour,
        "depth": CONF.old_configured.depth,
        "same": cfg.CONF is CONF,
        "workers": int(CONF.workers),
        "base": base.BaseModel.__name__,
        "uploaded": list(wrapper.UploadedFile._fields),
        "defaults": list(wrapper.UploadedFile("a")),
        "exception": issubclass(exceptions.ModuleNotFoundError, Exception),
        "version": bool(deepaas.__version__),
    }
