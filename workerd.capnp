# Runs the built Worker as `cargo xtask dev` does: `cargo xtask build --worker`, then
#   workerd serve workerd.capnp --socket-addr http=127.0.0.1:8787 --directory-path state=DIR
# The address and the folder below are what those two options replace.

using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "tollgate", worker = .tollgate),
    (name = "state", disk = (path = ".tollgate/state", writable = true)),
  ],
  sockets = [
    (name = "http", address = "127.0.0.1:8787", http = (), service = "tollgate"),
  ],
);

const tollgate :Workerd.Worker = (
  # As in wrangler.toml.
  compatibilityDate = "2026-10-01",
  compatibilityFlags = ["no_web_socket_compression"],
  modules = [
    (name = "index.js", esModule = embed "crates/tollgate-worker/build/index.js"),
    (name = "index_bg.wasm", wasm = embed "crates/tollgate-worker/build/index_bg.wasm"),
  ],
  bindings = [
    (name = "TENANT_LEDGER", durableObjectNamespace = "TenantLedger"),
    (name = "PLATFORM_POOL", durableObjectNamespace = "PlatformPool"),
    (name = "ADMIN_TOKEN", fromEnvironment = "TOLLGATE_ADMIN_TOKEN"),
    # Whether there may be ledgers from before there was a registry of tenants: docs/operations.md.
    (name = "ADOPT_TENANTS", fromEnvironment = "TOLLGATE_ADOPT_TENANTS"),
    # Tests set this to move time; without it the binding is null.
    (name = "TEST_CLOCK", fromEnvironment = "TOLLGATE_TEST_CLOCK"),
  ],
  # The unique keys name the folders of the objects' databases: changing one abandons what is stored under it.
  durableObjectNamespaces = [
    (className = "TenantLedger", uniqueKey = "tollgate-TenantLedger", enableSql = true),
    (className = "PlatformPool", uniqueKey = "tollgate-PlatformPool", enableSql = true),
  ],
  durableObjectStorage = (localDisk = "state"),
);
