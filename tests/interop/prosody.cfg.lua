-- Prosody as the other server to try plays and clients on. `run` sets the environment.
run_as_root = true
data_path = ENV_RUN_DIR .. "/data"
pidfile = ENV_RUN_DIR .. "/pid"
certificates = ENV_RUN_DIR
log = { warn = ENV_RUN_DIR .. "/log" }
interfaces = { "127.0.0.1" }
c2s_ports = { tonumber(ENV_RUN_PORT) }
c2s_direct_tls_ports = { tonumber(ENV_RUN_TLS_PORT) }
component_ports = { tonumber(ENV_RUN_COMPONENT_PORT) }
network_backend = "epoll"
admins = { "steward@localhost" }

modules_enabled = {
	"blocklist", "carbons", "csi_simple", "disco", "mam", "offline", "pep", "ping", "posix", "private", "register", "roster", "saslauth",
	"smacks", "time", "tls", "vcard", "version",
}
modules_disabled = { "s2s" }

-- Plays are played in the clear; the clients in this folder insist on TLS.
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_hashed"
allow_registration = true
default_archive_policy = true
c2s_stanza_size_limit = 262144

ssl = { certificate = ENV_RUN_DIR .. "/chain.pem", key = ENV_RUN_DIR .. "/key.pem" }
VirtualHost "localhost"

Component "push.localhost"
	component_secret = "secret"
