"""DEEPaaS modules (entry points `deepaas.v2.model`) behind the face of `plugin.Plugin`."""
