"""Envoys of one worker that answer 200 themselves behind the filters under test.

in:   ENVOY (the program). out: URLs and process ids. owns: configurations in the folder given; measure.py stops the processes.
"""
import json
import os

from measure import free_port, start

ENVOY = os.environ.get("ENVOY") or os.path.join(os.environ.get("REGENT_CACHE") or os.path.expanduser("~/.cache/regent"),
                                                "envoy-1.40.0", "envoy")
EXT = "type.googleapis.com/envoy.extensions."
AUTHZ = "envoy.filters.http.ext_authz"


def cluster(name, address):
    """A gRPC server at "HOST:PORT" or "unix:PATH"."""
    where = {"pipe": {"path": address[5:]}} if address.startswith("unix:") else {
        "socket_address": {"address": "127.0.0.1", "port_value": int(address.rsplit(":", 1)[1])}}
    return {"name": name, "type": "STATIC", "connect_timeout": "2s", "typed_extension_protocol_options": {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": EXT + "upstreams.http.v3.HttpProtocolOptions", "explicit_http_config": {"http2_protocol_options": {}}}},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": where}}]}]}}


def ext_authz(with_body):
    more = {"with_request_body": {"max_request_bytes": 8192, "allow_partial_message": True}} if with_body else {}
    return {"name": AUTHZ, "typed_config": {"@type": EXT + "filters.http.ext_authz.v3.ExtAuthz", "transport_api_version": "V3",
                                            "grpc_service": {"envoy_grpc": {"cluster_name": "authz"}, "timeout": "5s"}, **more}}


def wasm(module, configuration):
    plugin = {"name": "bench", "vm_config": {"runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": module}}},
              "failure_policy": "FAIL_CLOSED",
              "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": json.dumps(configuration)}}
    return {"name": "envoy.filters.http.wasm", "typed_config": {"@type": EXT + "filters.http.wasm.v3.Wasm", "config": plugin}}


def start_envoy(name, work, filters=(), authz=None):
    """(URL, process id). authz: address that the filter ext_authz asks."""
    port = free_port()
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "ok"}}}
    if authz:
        route["typed_per_filter_config"] = {AUTHZ: {
            "@type": EXT + "filters.http.ext_authz.v3.ExtAuthzPerRoute", "check_settings": {"context_extensions": {"tenant_id": "acme"}}}}
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": EXT + "filters.http.router.v3.Router"}}
    manager = {"@type": EXT + "filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "in",
               "generate_request_id": False, "http_filters": [*filters, router],
               "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]}}
    config = {"static_resources": {"clusters": [cluster("authz", authz)] if authz else [], "listeners": [
        {"name": "in", "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}, "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]}]}}
    path = os.path.join(work, f"envoy-{name.replace(' ', '-').replace(',', '')}.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(config, f)
    process = start([ENVOY, "-c", path, "--use-dynamic-base-id", "--concurrency", "1", "-l", "error"], path[:-4] + "log")
    return f"http://127.0.0.1:{port}", process.pid
