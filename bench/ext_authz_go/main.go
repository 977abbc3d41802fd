// The peer of the ext_authz door: Envoy's Check in Go, answered by OPA's library or always with OK.
// in: "ok" or "opa", an address (host:port or unix:path), a policy file and a data file. out: gRPC.
// The input is the CheckRequest as protojson gives it, with path and body parsed beside it, so that one policy serves
// this server and Regent.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/util"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
)

const (
	codeOK               = 0
	codePermissionDenied = 7
)

type server struct {
	auth.UnimplementedAuthorizationServer
	query *rego.PreparedEvalQuery // nil: everything is allowed
}

func (s *server) allows(ctx context.Context, request *auth.CheckRequest) (bool, error) {
	if s.query == nil {
		return true, nil
	}
	text, err := protojson.Marshal(request)
	if err != nil {
		return false, err
	}
	var input map[string]any
	if err := util.UnmarshalJSON(text, &input); err != nil {
		return false, err
	}
	path, _, _ := strings.Cut(request.GetAttributes().GetRequest().GetHttp().GetPath(), "?")
	parsed := []any{}
	for _, segment := range strings.Split(strings.TrimLeft(path, "/"), "/") {
		parsed = append(parsed, segment)
	}
	input["parsed_path"] = parsed
	var body any
	if util.UnmarshalJSON([]byte(request.GetAttributes().GetRequest().GetHttp().GetBody()), &body) == nil {
		input["parsed_body"] = body
	}
	results, err := s.query.Eval(ctx, rego.EvalInput(input))
	return err == nil && results.Allowed(), err
}

func (s *server) Check(ctx context.Context, request *auth.CheckRequest) (*auth.CheckResponse, error) {
	allowed, err := s.allows(ctx, request)
	if err != nil {
		return nil, err
	}
	code := int32(codePermissionDenied)
	if allowed {
		code = codeOK
	}
	return &auth.CheckResponse{Status: &status.Status{Code: code}}, nil
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "ext_authz_go:", err)
		os.Exit(2)
	}
}

func prepare(policy, data string) *rego.PreparedEvalQuery {
	text, err := os.ReadFile(policy)
	must(err)
	bytes, err := os.ReadFile(data)
	must(err)
	var documents map[string]any
	must(util.UnmarshalJSON(bytes, &documents))
	query, err := rego.New(
		rego.Query("data.tenant.authz.allow"),
		rego.Module(policy, string(text)),
		rego.Store(inmem.NewFromObject(documents)),
	).PrepareForEval(context.Background())
	must(err)
	return &query
}

func main() {
	if len(os.Args) != 3 && len(os.Args) != 5 {
		must(fmt.Errorf("usage: ext_authz_go ok ADDRESS | opa ADDRESS POLICY DATA"))
	}
	s := &server{}
	if os.Args[1] == "opa" {
		s.query = prepare(os.Args[3], os.Args[4])
	}
	network, address := "tcp", os.Args[2]
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	listener, err := net.Listen(network, address)
	must(err)
	g := grpc.NewServer()
	auth.RegisterAuthorizationServer(g, s)
	must(g.Serve(listener))
}
