/*
 * fuzz.h
 *		What a fuzz target is, and what main.c does for it.
 */
#ifndef FLO_FUZZ_H
#define FLO_FUZZ_H

#include "lib/stringinfo.h"
#include "utils/palloc.h"

/*
 * Feeds one input to the code under test.  Runs in a subtransaction that is
 * rolled back and in a memory context that goes afterwards, so it may throw:
 * every error is right but XX000, which says that something was not checked.
 * Whatever else must be true is said by fuzz_check().
 */
typedef void (*FuzzTarget) (const char *data, size_t len);

extern void fuzz_chunk(const char *data, size_t len);
extern void fuzz_change(const char *data, size_t len);
extern void fuzz_event(const char *data, size_t len);
extern void fuzz_value(const char *data, size_t len);
extern void fuzz_message(const char *data, size_t len);
extern void fuzz_ddl(const char *data, size_t len);
extern void fuzz_broker(const char *data, size_t len);
extern void fuzz_record(const char *data, size_t len);
extern void fuzz_rule(const char *data, size_t len);
extern void fuzz_import(const char *data, size_t len);
extern void fuzz_hook(const char *data, size_t len);
extern void fuzz_name(const char *data, size_t len);
extern void fuzz_convert(const char *data, size_t len);

/* Ends the process as a crash, which makes the input a find */
extern void fuzz_fail(const char *what) pg_attribute_noreturn();

#define fuzz_check(condition) ((condition) ? (void) 0 : fuzz_fail(#condition))

/*
 * In a PG_CATCH: ends what was thrown, in this memory context; an error that
 * nobody has thought of is a find
 */
extern void fuzz_judge_error(MemoryContext context);

/* Reads every byte that was handed out, to see that it is there */
extern void fuzz_touch(const void *data, size_t len);
extern void fuzz_touch_text(const char *text);

/* A copy of exactly these bytes: reading one more is seen */
extern char *fuzz_copy(const char *data, size_t len);

/* The same with a zero behind it, for what takes a string; NULL when there is one in it */
extern char *fuzz_text(const char *data, size_t len);

/* The next part of an input that holds several, each ended by a zero; NULL at the end */
extern char *fuzz_next_text(const char **data, size_t *len);

/* memory.c: a context of which each chunk is a malloc() of its own */
extern MemoryContext fuzz_context_create(MemoryContext parent, const char *name);

#endif
