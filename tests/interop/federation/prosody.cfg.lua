-- Prosody as a peer, near to what Debian's package configures. `run` sets the environment.
run_as_root = true
data_path = ENV_RUN_DIR .. "/data"
pidfile = ENV_RUN_DIR .. "/pid"
certificates = ENV_RUN_CERTIFICATES
log = { debug = ENV_RUN_DIR .. "/log" }
network_backend = "epoll"
interfaces = { ENV_RUN_ADDRESS }
c2s_ports = { 5222 }
s2s_ports = ENV_RUN_MODE == "direct" and {} or { 5269 }
s2s_direct_tls_ports = ENV_RUN_MODE == "direct" and { 5270 } or {}
use_ipv6 = false

-- libunbound holds .test to be empty unless told otherwise.
unbound = {
	resolvconf = true, hoststxt = false, trustfile = ENV_RUN_ANCHOR,
	options = { ["local-zone:"] = "test. transparent" },
}
use_dane = ENV_RUN_ANCHOR ~= nil

local modules = {
	"blocklist", "bookmarks", "carbons", "csi_simple", "dialback", "disco", "pep", "ping", "posix", "private",
	"register", "roster", "saslauth", "smacks", "time", "tls", "vcard4", "vcard_legacy", "version",
}
if ENV_RUN_BIDI then
	modules[#modules + 1] = "s2s_bidi"
end
modules_enabled = modules

authentication = "internal_hashed"
allow_registration = true
pep_max_items = 1000

-- Debian's package asks for valid certificates. Where they aren't, there is dialback.
s2s_secure_auth = ENV_RUN_MODE == "external" or ENV_RUN_MODE == "direct"
ssl = { cafile = ENV_RUN_AUTHORITY, capath = ENV_RUN_DIR .. "/none" }

for domain in ENV_RUN_DOMAINS:gmatch("%S+") do
	VirtualHost(domain)
	ssl = {
		cafile = ENV_RUN_AUTHORITY, capath = ENV_RUN_DIR .. "/none",
		certificate = ENV_RUN_CERTIFICATES .. "/" .. domain .. ".crt",
		key = ENV_RUN_CERTIFICATES .. "/" .. domain .. ".key",
	}
end
