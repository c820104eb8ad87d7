# What the platform takes by itself: an object without any rules. `cargo xtask bench worker` gives the address and the folder.

using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "bare", worker = .bare),
    (name = "state", disk = (path = ".tollgate/bare", writable = true)),
  ],
  sockets = [
    (name = "http", address = "127.0.0.1:8788", http = (), service = "bare"),
  ],
);

const bare :Workerd.Worker = (
  # As the Worker's own.
  compatibilityDate = "2026-10-01",
  compatibilityFlags = ["no_web_socket_compression"],
  modules = [
    (name = "bare.js", esModule = embed "bare.js"),
  ],
  bindings = [
    (name = "OBJECT", durableObjectNamespace = "Bare"),
  ],
  durableObjectNamespaces = [
    (className = "Bare", uniqueKey = "bare", enableSql = true),
  ],
  durableObjectStorage = (localDisk = "state"),
);
