vcl 4.1;
# Varnish before the bundles of regent control (docs/publishing.md). PURGE of a pointer comes with each release:
#     regent control … --purge varnish:http://cache.example.com

backend default {
    .host = "127.0.0.1";
    .port = "9000";
}

# Where the control plane's purges come from.
acl publishers {
    "127.0.0.1";
    "::1";
}

sub vcl_recv {
    if (req.method == "PURGE") {
        if (client.ip !~ publishers) {
            return (synth(403));
        }
        return (purge);
    }
    if (req.method != "GET" && req.method != "HEAD") {
        return (synth(405));
    }
    # The same object however its name is escaped, whatever the query.
    set req.url = regsub(req.url, "\?.*$", "");
    unset req.http.Cookie;
    return (hash);
}

# By path alone: the control plane need not know by which name edges call this server.
sub vcl_hash {
    hash_data(req.url);
    return (lookup);
}

sub vcl_backend_response {
    set beresp.grace = 0s;
    set beresp.keep = 1h;
    if (bereq.url ~ "^/tenants/[^/]+/versions/" && beresp.status == 200) {
        set beresp.ttl = 30d;
    } else if (beresp.status == 200 || beresp.status == 404) {
        # A purge that was lost is made good after that long.
        set beresp.ttl = 10m;
    }
}
