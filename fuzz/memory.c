/*
 * memory.c
 *		Memory contexts of which each chunk is a malloc() of its own.
 *
 * The server cuts its chunks out of large blocks, so the address sanitizer
 * sees neither a byte too far nor a use after pfree().  Here every chunk has
 * the sanitizer's red zones, and its header is closed to our code.  All
 * contexts made by pg_flo are such (the linker leads its calls to
 * AllocSetContextCreateInternal() here), and so is the one an input runs in:
 * what the server's own functions allocate there is watched, too.
 *
 * Since 16 a chunk's header says by a number which of the server's kinds of
 * context it belongs to, which leaves no room for one more: there, contexts are
 * the server's own.
 */
#include "postgres.h"

#include <sanitizer/asan_interface.h>

#include "nodes/memnodes.h"
#include "utils/memutils.h"

#include "fuzz.h"

extern MemoryContext __real_AllocSetContextCreateInternal(MemoryContext parent, const char *name,
														  Size min_size, Size initial_size,
														  Size max_size);
extern MemoryContext __wrap_AllocSetContextCreateInternal(MemoryContext parent, const char *name,
														  Size min_size, Size initial_size,
														  Size max_size);

#if PG_VERSION_NUM < 160000

/* Before each chunk; the last field is where the server looks for it */
typedef struct FuzzChunk
{
	struct FuzzChunk *previous;
	struct FuzzChunk *next;
	Size		size;
	MemoryContext context;
} FuzzChunk;

typedef struct FuzzContext
{
	MemoryContextData header;
	FuzzChunk  *chunks;
} FuzzContext;

#define HEADER_SIZE sizeof(FuzzChunk)
#define CHUNK(pointer) ((FuzzChunk *) ((char *) (pointer) - HEADER_SIZE))

static void
link_chunk(FuzzContext *context, FuzzChunk *chunk, Size size)
{
	chunk->size = size;
	chunk->context = &context->header;
	chunk->previous = NULL;
	chunk->next = context->chunks;
	if (chunk->next != NULL)
	{
		ASAN_UNPOISON_MEMORY_REGION(chunk->next, HEADER_SIZE);
		chunk->next->previous = chunk;
		ASAN_POISON_MEMORY_REGION(chunk->next, HEADER_SIZE);
	}
	context->chunks = chunk;
	context->header.mem_allocated += size;
	ASAN_POISON_MEMORY_REGION(chunk, HEADER_SIZE);
}

/* The chunk's header is open to us from here on */
static void
unlink_chunk(FuzzContext *context, FuzzChunk *chunk)
{
	ASAN_UNPOISON_MEMORY_REGION(chunk, HEADER_SIZE);
	if (chunk->next != NULL)
	{
		ASAN_UNPOISON_MEMORY_REGION(chunk->next, HEADER_SIZE);
		chunk->next->previous = chunk->previous;
		ASAN_POISON_MEMORY_REGION(chunk->next, HEADER_SIZE);
	}
	if (chunk->previous == NULL)
		context->chunks = chunk->next;
	else
	{
		ASAN_UNPOISON_MEMORY_REGION(chunk->previous, HEADER_SIZE);
		chunk->previous->next = chunk->next;
		ASAN_POISON_MEMORY_REGION(chunk->previous, HEADER_SIZE);
	}
	context->header.mem_allocated -= chunk->size;
}

static void *
fuzz_alloc(MemoryContext context, Size size)
{
	FuzzChunk  *chunk = malloc(HEADER_SIZE + size);

	if (chunk == NULL)
		return NULL;
	link_chunk((FuzzContext *) context, chunk, size);
	return (char *) chunk + HEADER_SIZE;
}

static void
fuzz_free(MemoryContext context, void *pointer)
{
	unlink_chunk((FuzzContext *) context, CHUNK(pointer));
	free(CHUNK(pointer));
}

static void *
fuzz_realloc(MemoryContext context, void *pointer, Size size)
{
	FuzzChunk  *chunk = CHUNK(pointer);
	FuzzChunk  *larger;

	/* a new place each time, so that old pointers into it are seen */
	larger = malloc(HEADER_SIZE + size);
	if (larger == NULL)
		return NULL;
	unlink_chunk((FuzzContext *) context, chunk);
	memcpy((char *) larger + HEADER_SIZE, pointer, Min(size, chunk->size));
	free(chunk);
	link_chunk((FuzzContext *) context, larger, size);
	return (char *) larger + HEADER_SIZE;
}

static void
fuzz_reset(MemoryContext context)
{
	FuzzContext *self = (FuzzContext *) context;

	while (self->chunks != NULL)
	{
		FuzzChunk  *chunk = self->chunks;

		unlink_chunk(self, chunk);
		free(chunk);
	}
}

static void
fuzz_delete(MemoryContext context)
{
	fuzz_reset(context);
	free(context);
}

static Size
fuzz_chunk_space(MemoryContext context, void *pointer)
{
	FuzzChunk  *chunk = CHUNK(pointer);
	Size		size;

	ASAN_UNPOISON_MEMORY_REGION(chunk, HEADER_SIZE);
	size = chunk->size;
	ASAN_POISON_MEMORY_REGION(chunk, HEADER_SIZE);
	return size;
}

static bool
fuzz_is_empty(MemoryContext context)
{
	return ((FuzzContext *) context)->chunks == NULL;
}

static void
fuzz_stats(MemoryContext context, MemoryStatsPrintFunc print, void *arg,
		   MemoryContextCounters *totals, bool to_stderr)
{
}

static const MemoryContextMethods methods = {
	.alloc = fuzz_alloc,
	.free_p = fuzz_free,
	.realloc = fuzz_realloc,
	.reset = fuzz_reset,
	.delete_context = fuzz_delete,
	.get_chunk_space = fuzz_chunk_space,
	.is_empty = fuzz_is_empty,
	.stats = fuzz_stats
};

MemoryContext
fuzz_context_create(MemoryContext parent, const char *name)
{
	FuzzContext *context = malloc(sizeof(FuzzContext));

	if (context == NULL)
		fuzz_fail("malloc() of a context");
	context->chunks = NULL;

	/* the server asks for the tag to know that it is a context at all */
	MemoryContextCreate(&context->header, T_AllocSetContext, &methods, parent, name);
	return &context->header;
}

#else

MemoryContext
fuzz_context_create(MemoryContext parent, const char *name)
{
	return __real_AllocSetContextCreateInternal(parent, name, ALLOCSET_DEFAULT_SIZES);
}

#endif

MemoryContext
__wrap_AllocSetContextCreateInternal(MemoryContext parent, const char *name,
									 Size min_size, Size initial_size, Size max_size)
{
	return fuzz_context_create(parent, name);
}
