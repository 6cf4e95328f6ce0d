# Loading modules built with a compiler's sanitizers into a server that was not;
# sourced after common.sh, by fuzz/run.sh and sanitized.sh.

SANITIZER_CC=${SANITIZER_CC:-clang}

# Memory of the server's contexts is never given back before it ends; its stack
# depth is measured by addresses, which needs locals to be on the stack
SANITIZER_ASAN=detect_leaks=0:detect_stack_use_after_return=0:allocator_may_return_null=1:abort_on_error=1:disable_coredump=0
SANITIZER_UBSAN=print_stacktrace=1:abort_on_error=1

sanitizer_runtime()
{
	case $SANITIZER_CC in
		*clang*) "$SANITIZER_CC" -print-file-name="libclang_rt.asan-$(uname -m).so" ;;
		*) "$SANITIZER_CC" -print-file-name=libasan.so ;;
	esac
}

sanitizer_symbolizer() { command -v llvm-symbolizer || command -v "llvm-symbolizer-$("$SANITIZER_CC" -dumpversion | cut -d. -f1)"; }

# The runtime must be initialized before other libraries: see early.c
sanitizer_early()
{
	"$SANITIZER_CC" -shared -fPIC -Wl,-z,initfirst -o "$1" "$TOP/.ci/early.c" && chmod 755 "$1"
}
