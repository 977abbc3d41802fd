// The judge of the authorization doors' input documents: makes of a CheckRequest what opa-envoy-plugin makes of it, with the
// libraries that the plugin uses (Go's protobuf, net/url, mime, encoding/json), so that every doubt about escapes, media types
// and numbers is settled by them.
// in: frames of four bytes length (big-endian) and a CheckRequest, on standard input. out: a line of JSON for each:
// {"input":…}, or {"error":"…"} where the plugin denies with 400, or {"broken":"…"} where the message is none.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"os"
	"strconv"
	"strings"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
)

// Populated fields under their JSON names; Structs as what they stand for, all else as it is.
func document(m protoreflect.Message) any {
	if s, ok := m.Interface().(*structpb.Struct); ok {
		return s.AsMap()
	}
	out := map[string]any{}
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case field.IsMap():
			entries := map[string]any{}
			v.Map().Range(func(key protoreflect.MapKey, item protoreflect.Value) bool {
				entries[key.String()] = plain(field.MapValue(), item)
				return true
			})
			out[field.JSONName()] = entries
		case field.IsList():
			items := []any{}
			for i := range v.List().Len() {
				items = append(items, plain(field, v.List().Get(i)))
			}
			out[field.JSONName()] = items
		default:
			out[field.JSONName()] = plain(field, v)
		}
		return true
	})
	return out
}

func plain(field protoreflect.FieldDescriptor, v protoreflect.Value) any {
	if field.Kind() == protoreflect.MessageKind {
		return document(v.Message())
	}
	return v.Interface()
}

func oneValue(text string) (any, error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("more than one value")
	}
	return v, nil
}

func form(text string) (any, error) {
	values, err := url.ParseQuery(text)
	return values, err
}

func parts(contentType, text string) (any, error) {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, err
	}
	boundary, ok := params["boundary"]
	if !ok {
		return nil, nil
	}
	found := map[string][]any{}
	for reader := multipart.NewReader(strings.NewReader(text), boundary); ; {
		part, err := reader.NextPart()
		if err == io.EOF {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		name := part.FormName()
		if name == "" {
			continue
		}
		bytes, err := io.ReadAll(part)
		if err != nil {
			return nil, err
		}
		var v any = string(bytes)
		if strings.Contains(part.Header.Get("Content-Type"), "application/json") {
			if v, err = oneValue(string(bytes)); err != nil {
				return nil, err
			}
		}
		found[name] = append(found[name], v)
	}
}

func parsedBody(headers map[string]string, text string) (any, bool, error) {
	kind := headers["content-type"]
	if headers["x-envoy-auth-partial-body"] == "true" {
		return nil, true, nil
	}
	isJSON := strings.Contains(kind, "application/json")
	isGRPC := !isJSON && strings.Contains(kind, "application/grpc")
	isForm := !isJSON && !isGRPC && strings.Contains(kind, "application/x-www-form-urlencoded")
	isParts := !isJSON && !isGRPC && !isForm && strings.Contains(kind, "multipart/form-data")
	if text == "" || !(isJSON || isForm || isParts) {
		return nil, false, nil
	}
	if length, ok := headers["content-length"]; ok {
		n, err := strconv.ParseInt(length, 10, 64)
		if err != nil {
			return nil, false, err
		}
		if n > int64(len(text)) {
			return nil, true, nil
		}
	}
	var v any
	var err error
	switch {
	case isJSON:
		v, err = oneValue(text)
	case isForm:
		v, err = form(text)
	default:
		v, err = parts(kind, text)
	}
	return v, false, err
}

func input(request *auth.CheckRequest) (any, error) {
	out := document(request.ProtoReflect()).(map[string]any)
	http := request.GetAttributes().GetRequest().GetHttp()
	path, query, _ := strings.Cut(http.GetPath(), "?")
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return nil, err
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, err
	}
	// With encode_raw_headers the plugin finds no content-type at all; Regent looks there too.
	headers := http.GetHeaders()
	if len(headers) == 0 {
		headers = map[string]string{}
		for _, h := range http.GetHeaderMap().GetHeaders() {
			value := h.GetValue()
			if value == "" {
				value = string(h.GetRawValue())
			}
			headers[h.GetKey()] = value
		}
	}
	text := http.GetBody()
	if text == "" {
		text = string(http.GetRawBody())
	}
	body, truncated, err := parsedBody(headers, text)
	if err != nil {
		return nil, err
	}
	out["parsed_path"] = strings.Split(strings.TrimLeft(decoded, "/"), "/")
	out["parsed_query"] = values
	out["parsed_body"] = body
	out["truncated_body"] = truncated
	out["version"] = map[string]string{"ext_authz": "v3", "encoding": "protojson"}
	if principal := request.GetAttributes().GetSource().GetPrincipal(); principal != "" {
		out["source_principal"] = principal
	}
	return out, nil
}

func main() {
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	defer out.Flush()
	lines := json.NewEncoder(out)
	for {
		var n uint32
		if binary.Read(in, binary.BigEndian, &n) != nil {
			return
		}
		bytes := make([]byte, n)
		if _, err := io.ReadFull(in, bytes); err != nil {
			return
		}
		var request auth.CheckRequest
		line := map[string]any{}
		if err := proto.Unmarshal(bytes, &request); err != nil {
			line["broken"] = err.Error()
		} else if v, err := input(&request); err != nil {
			line["error"] = err.Error()
		} else {
			line["input"] = v
		}
		if err := lines.Encode(line); err != nil {
			panic(err)
		}
	}
}
