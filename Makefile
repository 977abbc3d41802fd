# make: build/regent and libregent. make test: all tests. make demo: the main job. make bench: figures beside the peers'.
BUILD ?= build
REGENT_CACHE ?= $(HOME)/.cache/regent
WASMTIME_VERSION := 48.0.8
OPA_VERSION := 1.22.2
WASMTIME := $(REGENT_CACHE)/wasmtime-$(WASMTIME_VERSION)
OPA_DIR := $(REGENT_CACHE)/opa-$(OPA_VERSION)
export OPA := $(OPA_DIR)/opa

CC := clang
CXX := clang++
AR ?= ar
SANITIZE ?=
OPT ?= -O2
WARN := -Wall -Wextra -Werror -Wvla -Wstrict-prototypes -Wmissing-prototypes
CPPFLAGS := -Isrc -Iinclude -I$(BUILD)/gen -isystem $(WASMTIME)/include -D_GNU_SOURCE -DREGENT_VERSION='"$(shell cat VERSION)"'
CFLAGS := -std=c11 $(OPT) -g $(WARN) -fPIC -fno-strict-aliasing -fstack-protector-strong $(SANITIZE) $(EXTRA_CFLAGS)
CXXFLAGS := -std=c++17 $(OPT) -g -Wall -Wextra -Werror -fPIC $(SANITIZE)
DEPFLAGS = -MMD -MP
LDLIBS := $(WASMTIME)/lib/libwasmtime.a -luv -lnghttp2 -lssl -lcrypto -lre2 -lstdc++ -lyaml -larchive -ldeflate -lseccomp -lz -lpthread -ldl -lm
# The program carries all but the C library: its dynamic loader would take longer than most commands. LINK=dynamic for distributions.
LINK ?= static
STATIC_LIBS := -Wl,-Bstatic -luv_a -lnghttp2 -lssl -lcrypto -lre2 -lstdc++ -lyaml -larchive -ldeflate -lseccomp -lsqlite3 -lz -Wl,-Bdynamic -static-libgcc -lpthread -ldl -lm
APP_LIBS = $(if $(filter static,$(LINK)),$(WASMTIME)/lib/libwasmtime.a $(STATIC_LIBS),$(LDLIBS) -lsqlite3)
LDFLAGS := $(SANITIZE)

LIB_DIRS := base bundle compiler host image
APP_DIRS := net edge control cli
find_c = $(sort $(foreach d,$(1),$(shell find src/$(d) -name '*.c' 2>/dev/null)))
find_cc = $(sort $(foreach d,$(1),$(shell find src/$(d) -name '*.cc' 2>/dev/null)))
LIB_SRC := $(call find_c,$(LIB_DIRS)) $(call find_cc,$(LIB_DIRS))
APP_SRC := $(call find_c,$(APP_DIRS))
obj = $(patsubst %,$(BUILD)/obj/%.o,$(1))
LIB_OBJ := $(call obj,$(LIB_SRC)) $(BUILD)/obj/gen/runtime_embed.o
APP_OBJ := $(call obj,$(APP_SRC)) $(BUILD)/obj/gen/openapi_embed.o

all: $(BUILD)/regent $(BUILD)/libregent.a $(BUILD)/libregent.so $(BUILD)/regent.pc
.PHONY: all test check bench demo deps deps-test clean lint format fuzz soak sanitize install runtime

# ---- what a fresh machine lacks ----
deps: $(BUILD)/.deps
$(BUILD)/.deps: tools/packages.txt third_party/wasmtime/Cargo.lock
	@mkdir -p $(BUILD)
	@tools/packages.sh tools/packages.txt
	@third_party/wasmtime/build.sh $(WASMTIME)
	@touch $@
deps-test: $(BUILD)/.deps-test
$(BUILD)/.deps-test: tools/packages-test.txt | $(BUILD)/.deps
	@tools/packages.sh tools/packages-test.txt
	@third_party/opa/build.sh $(OPA_DIR)
	@touch $@

# ---- native code ----
V ?=
Q := $(if $(V),,@)
say = $(if $(V),,@echo '  $(1)  $@')
$(BUILD)/obj/%.c.o: %.c | $(BUILD)/.deps
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(DEPFLAGS) -c $< -o $@
$(BUILD)/obj/%.cc.o: %.cc | $(BUILD)/.deps
	@mkdir -p $(@D)
	$(call say,CXX)
	$(Q)$(CXX) $(CPPFLAGS) $(CXXFLAGS) $(DEPFLAGS) -c $< -o $@

$(BUILD)/libregent.a: $(LIB_OBJ)
	@rm -f $@
	$(call say,AR)
	$(Q)$(AR) rcs $@ $^
$(BUILD)/libregent.so: $(LIB_OBJ)
	$(call say,LD)
	$(Q)$(CC) -shared $(LDFLAGS) -Wl,--no-undefined -Wl,--version-script=src/host/libregent.map -o $@ $^ $(LDLIBS)
$(BUILD)/regent: $(APP_OBJ) $(BUILD)/libregent.a
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) -Wl,--gc-sections -o $@ $^ $(APP_LIBS)
$(BUILD)/regent.pc: src/host/regent.pc.in
	@mkdir -p $(@D)
	$(call say,GEN)
	$(Q)sed 's|@VERSION@|$(shell cat VERSION)|' $< > $@

# ---- the runtime: C to wasm32, embedded into the native code ----
PROXY_SRC := $(call find_c,runtime/proxy)
RUNTIME_SRC := $(filter-out $(PROXY_SRC),$(call find_c,runtime))
RUNTIME_CFLAGS := --target=wasm32 -std=c11 -ffreestanding -fno-builtin -nostdlib -mbulk-memory -msign-ext \
	-mnontrapping-fptoint -fvisibility=hidden -ffunction-sections -fdata-sections -Wall -Wextra -Werror -Isrc
# Built twice: for speed, as the module that thin ones share and a node compiles once; for size, as what the linker puts into
# full ones.
RUNTIME_OBJ := $(patsubst src/runtime/%.c,$(BUILD)/wasm/%.o,$(RUNTIME_SRC))
RUNTIME_LINK_OBJ := $(patsubst src/runtime/%.c,$(BUILD)/wasm-link/%.o,$(RUNTIME_SRC))
RUNTIME_LD := wasm-ld --no-entry --stack-first -z stack-size=65536 --export-dynamic --no-gc-sections --allow-undefined \
	--initial-memory=262144
$(BUILD)/wasm/%.o: src/runtime/%.c | $(BUILD)/.deps
	@mkdir -p $(@D)
	$(call say,WASM)
	$(Q)clang $(RUNTIME_CFLAGS) -O3 $(DEPFLAGS) -c $< -o $@
$(BUILD)/wasm-link/%.o: src/runtime/%.c | $(BUILD)/.deps
	@mkdir -p $(@D)
	$(call say,WASM)
	$(Q)clang $(RUNTIME_CFLAGS) -Oz $(DEPFLAGS) -c $< -o $@
$(BUILD)/runtime.wasm: $(RUNTIME_OBJ)
	$(call say,WASMLD)
	$(Q)$(RUNTIME_LD) --export=__stack_pointer --no-check-features --strip-all -o $@ $^
$(BUILD)/runtime-link.wasm: $(RUNTIME_LINK_OBJ)
	$(call say,WASMLD)
	$(Q)$(RUNTIME_LD) --emit-relocs --strip-debug -o $@ $^
# The one for speed again, with the filter around it: what proxy-wasm filters are linked from.
PROXY_OBJ := $(patsubst src/runtime/%.c,$(BUILD)/wasm/%.o,$(PROXY_SRC))
$(BUILD)/runtime-proxy.wasm: $(RUNTIME_OBJ) $(PROXY_OBJ)
	$(call say,WASMLD)
	$(Q)$(RUNTIME_LD) --emit-relocs --strip-debug -o $@ $^
# Its machine code too, so that no process has to compile it.
PRECOMPILE_OBJ := $(call obj,src/host/config.c src/base/buf.c src/base/err.c)
$(BUILD)/precompile: tools/precompile.c $(PRECOMPILE_OBJ)
	$(call say,LD)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(DEPFLAGS) -o $@ $< $(PRECOMPILE_OBJ) $(WASMTIME)/lib/libwasmtime.a -lpthread -ldl -lm $(LDFLAGS)
$(BUILD)/runtime.code: $(BUILD)/runtime.wasm $(BUILD)/precompile
	$(call say,PRECOMP)
	$(Q)$(BUILD)/precompile $< $@
$(BUILD)/gen/runtime_embed.S: $(BUILD)/runtime.wasm $(BUILD)/runtime.code $(BUILD)/runtime-link.wasm $(BUILD)/runtime-proxy.wasm \
		tools/embed.sh
	@mkdir -p $(@D)
	$(call say,GEN)
	$(Q)tools/embed.sh $(BUILD)/runtime.wasm $(BUILD)/runtime.code $(BUILD)/runtime-link.wasm $(BUILD)/runtime-proxy.wasm > $@
$(BUILD)/obj/gen/runtime_embed.o: $(BUILD)/gen/runtime_embed.S
	@mkdir -p $(@D)
	$(call say,AS)
	$(Q)$(CC) -c $< -o $@
# The description of the control plane's API, which it serves.
$(BUILD)/gen/openapi.json: tools/openapi.py VERSION $(wildcard docs/openapi/*.json)
	@mkdir -p $(@D)
	$(call say,GEN)
	$(Q)python3 tools/openapi.py $@
$(BUILD)/obj/gen/openapi_embed.o: $(BUILD)/gen/openapi.json
	@mkdir -p $(@D)
	$(call say,AS)
	$(Q)printf '.section .rodata\n.global openapi_json_start, openapi_json_end\nopenapi_json_start:\n.incbin "%s"\nopenapi_json_end:\n.section .note.GNU-stack,"",@progbits\n' $< | $(CC) -x assembler -c - -o $@
runtime: $(BUILD)/runtime.wasm
# The same sources natively, for unit tests and fuzzing: non-PIE, so that every address fits 32 bits.
NATIVE_RT_OBJ := $(patsubst src/runtime/%.c,$(BUILD)/rt/%.o,$(RUNTIME_SRC))
$(BUILD)/rt/%.o: src/runtime/%.c | $(BUILD)/.deps
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -std=c11 -O1 -g -fno-pie -DREGENT_NATIVE $(WARN) -Wno-missing-prototypes -Isrc $(SANITIZE) $(DEPFLAGS) -c $< -o $@
$(BUILD)/libruntime.a: $(NATIVE_RT_OBJ)
	@rm -f $@
	$(call say,AR)
	$(Q)$(AR) rcs $@ $^

# ---- tests ----
UNIT_SRC := $(sort $(wildcard tests/unit/*.c))
UNIT_RT_SRC := $(sort $(wildcard tests/unit/runtime/*.c))
UNIT_BIN := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(UNIT_SRC)) $(patsubst tests/unit/runtime/%.c,$(BUILD)/tests/unit/runtime/%,$(UNIT_RT_SRC))
$(BUILD)/tests/unit/runtime/%: tests/unit/runtime/%.c $(BUILD)/libruntime.a | $(BUILD)/.deps-test
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) -std=c11 -O1 -g -fno-pie -no-pie -DREGENT_NATIVE -D_GNU_SOURCE -Isrc $(SANITIZE) -MMD -MP -o $@ $< $(BUILD)/libruntime.a -lcmocka -lm
NODE_OBJ := $(call obj,$(call find_c,net edge control)) $(BUILD)/obj/gen/openapi_embed.o
$(BUILD)/tests/unit/%: tests/unit/%.c $(BUILD)/libregent.a $(NODE_OBJ) | $(BUILD)/.deps-test
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(DEPFLAGS) -o $@ $< $(NODE_OBJ) $(BUILD)/libregent.a -lcmocka $(LDLIBS) -lsqlite3 $(LDFLAGS)
$(BUILD)/tests/conformance: tests/conformance/conformance.c $(BUILD)/libregent.a | $(BUILD)/.deps-test
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(DEPFLAGS) -o $@ $< $(BUILD)/libregent.a $(LDLIBS) $(LDFLAGS)
$(BUILD)/tests/decide: tests/routes/decide.c $(BUILD)/libregent.a | $(BUILD)/.deps-test
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(DEPFLAGS) -o $@ $< $(BUILD)/libregent.a $(LDLIBS) $(LDFLAGS)
$(BUILD)/bench/decide: bench/decide.c $(BUILD)/libregent.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(DEPFLAGS) -o $@ $< $(BUILD)/libregent.a $(LDLIBS) $(LDFLAGS)
$(BUILD)/bench/builder: bench/builder.c $(BUILD)/libregent.a $(NODE_OBJ)
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(DEPFLAGS) -o $@ $< $(NODE_OBJ) $(BUILD)/libregent.a $(LDLIBS) -lsqlite3 $(LDFLAGS)
test: all $(BUILD)/.deps-test $(UNIT_BIN) $(BUILD)/tests/conformance $(BUILD)/tests/decide
	@BUILD=$(BUILD) python3 tests/run.py $(SUITES)
check: test
bench: all $(BUILD)/bench/decide $(BUILD)/bench/builder $(BUILD)/.deps-test
	@BUILD=$(BUILD) bench/run.sh
demo: all
	@BUILD=$(BUILD) python3 deploy/demo/run.py
# At length what `make test` does in short: FUZZ_SECONDS a harness.
fuzz: $(BUILD)/regent $(BUILD)/libregent.a $(BUILD)/.deps-test
	@BUILD=$(BUILD) tests/fuzz/run.sh $(or $(FUZZ_SECONDS),3600)
soak: all $(BUILD)/.deps-test
	@for t in test_faults test_faults_os test_store; do FAULT_SECONDS=$(or $(SOAK_SECONDS),300) BUILD=$(BUILD) python3 tests/edge/$$t.py || exit 1; done
	@KILLS=$(or $(SOAK_KILLS),240) BUILD=$(BUILD) python3 tests/control/test_kill.py
sanitize: $(BUILD)/.deps-test
	@BUILD=$(BUILD) python3 tests/sanitize/run.py
PREFIX ?= /usr/local
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include
	install $(BUILD)/regent $(DESTDIR)$(PREFIX)/bin/regent
	install -m 644 $(BUILD)/libregent.a $(BUILD)/libregent.so $(DESTDIR)$(PREFIX)/lib/
	install -m 644 include/regent.h $(DESTDIR)$(PREFIX)/include/regent.h
	sed 's|^prefix=.*|prefix=$(PREFIX)|' $(BUILD)/regent.pc > $(DESTDIR)$(PREFIX)/lib/pkgconfig/regent.pc
lint:
	@python3 tools/lint.py
format:
	@clang-format -i $$(git ls-files '*.c' '*.h')
clean:
	rm -rf $(BUILD)
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
