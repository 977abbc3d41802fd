// Times decisions of OPA's Go library, on commands from standard input (see decide.c):
// in: a folder with p1/ and p2/; "result CASE" or "eval CASE N" a line. out: one line an answer.
// A decision reads the input from its JSON bytes and ends with the result as JSON bytes; of the library's two ways
// to hand over an input this is the faster one (a parsed ast.Value).
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/util"
)

type subject struct {
	query rego.PreparedEvalQuery
	input []byte
}

var cases = map[string][3]string{ // folder, query, input
	"p1_allow":    {"p1", "data.tenant.authz.allow", "input.json"},
	"p1_decision": {"p1", "data.tenant.authz.decision", "input.json"},
	"p2_hit":      {"p2", "data.rbac.authz.allow", "input.json"},
	"p2_miss":     {"p2", "data.rbac.authz.allow", "miss.json"},
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "opa_native:", err)
		os.Exit(2)
	}
}

func read(folder, name string) []byte {
	b, err := os.ReadFile(os.Args[1] + "/" + folder + "/" + name)
	must(err)
	return b
}

func prepare(name string) subject {
	c, ok := cases[name]
	if !ok {
		must(fmt.Errorf("no case %q", name))
	}
	var data map[string]any
	must(util.UnmarshalJSON(read(c[0], "data.json"), &data))
	query, err := rego.New(
		rego.Query(c[1]),
		rego.Module("policy.rego", string(read(c[0], "policy.rego"))),
		rego.Store(inmem.NewFromObject(data)),
	).PrepareForEval(context.Background())
	must(err)
	return subject{query, read(c[0], c[2])}
}

func (s subject) decide(ctx context.Context) []byte {
	input, err := ast.ValueFromReader(bytes.NewReader(s.input))
	must(err)
	results, err := s.query.Eval(ctx, rego.EvalParsedInput(input))
	must(err)
	out, err := json.Marshal(results[0].Expressions[0].Value)
	must(err)
	return out
}

func (s subject) time(ctx context.Context, n int) float64 {
	for range n/10 + 1 {
		s.decide(ctx)
	}
	start := time.Now()
	for range n {
		s.decide(ctx)
	}
	return float64(time.Since(start).Nanoseconds()) / float64(n)
}

func main() {
	ctx := context.Background()
	prepared := map[string]subject{}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 2 {
			must(fmt.Errorf("bad command %q", lines.Text()))
		}
		s, ok := prepared[words[1]]
		if !ok {
			s = prepare(words[1])
			prepared[words[1]] = s
		}
		if words[0] == "result" {
			fmt.Println(string(s.decide(ctx)))
			continue
		}
		n, err := strconv.Atoi(words[len(words)-1])
		must(err)
		fmt.Printf("%.1f\n", s.time(ctx, n))
	}
}
