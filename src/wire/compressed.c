/*
 * compressed.c
 *		Values that the source's server has compressed, or tried to.
 *
 * Compressed bytes come from the network and are to be stored as they are, so they
 * count only when they can be expanded to exactly the length that is claimed.  What they
 * are expanded to is judged by whoever stores them.
 */
#include "postgres.h"

#include "access/toast_compression.h"
#include "access/toast_internals.h"
#include "common/pg_lzcompress.h"
#include "core/compat.h"
#include "port/pg_bswap.h"
#include "wire/compressed.h"

/*
 * Damaged bytes can make pglz_decompress() copy from so far before its output, in
 * releases that do not look, and read so far behind its input
 */
#define LEAD	4096
#define TAIL	4

/* As in pg_attribute, which knows two */
static char
method_of(const struct varlena *datum)
{
	switch (VARDATA_COMPRESSED_GET_COMPRESS_METHOD(datum))
	{
		case TOAST_PGLZ_COMPRESSION_ID:
			return TOAST_PGLZ_COMPRESSION;
		case TOAST_LZ4_COMPRESSION_ID:
			return TOAST_LZ4_COMPRESSION;
		default:
			return InvalidCompressionMethod;
	}
}

bool
flo_compressed_travels(const struct varlena *datum, int methods)
{
	char		method;

	if (methods == 0 || !VARATT_IS_COMPRESSED(datum))
		return false;
	method = method_of(datum);
	if (method == TOAST_PGLZ_COMPRESSION ? !(methods & FLO_METHOD_PGLZ) :
		method != TOAST_LZ4_COMPRESSION || !(methods & FLO_METHOD_LZ4))
		return false;

	/* as readers demand it */
	return VARSIZE(datum) - VARHDRSZ < VARDATA_COMPRESSED_GET_EXTSIZE(datum);
}

uint32
flo_compressed_plain_len(const struct varlena *datum)
{
	return VARDATA_COMPRESSED_GET_EXTSIZE(datum);
}

static void
put32(StringInfo out, uint32 value)
{
	value = pg_hton32(value);
	appendBinaryStringInfo(out, (const char *) &value, sizeof(value));
}

static void
put(StringInfo out, char kind, char letter, uint32 plain_len, const char *bytes, uint32 len)
{
	appendStringInfoCharMacro(out, FLO_VALUE_COMPRESSED);
	appendStringInfoCharMacro(out, kind);
	appendStringInfoCharMacro(out, letter);
	put32(out, plain_len);
	put32(out, len);
	appendBinaryStringInfo(out, bytes, len);
}

void
flo_compressed_put(StringInfo out, char kind, const struct varlena *datum)
{
	put(out, kind, method_of(datum), VARDATA_COMPRESSED_GET_EXTSIZE(datum),
		(const char *) datum + VARHDRSZ_COMPRESSED, VARSIZE(datum) - VARHDRSZ_COMPRESSED);
}

void
flo_compressed_put_plain(StringInfo out, char kind, char method, const char *bytes, uint32 len)
{
	put(out, kind, pg_ascii_toupper(method), len, bytes, len);
}

static char *
expand_pglz(const struct varlena *datum, uint32 len, uint32 plain_len)
{
	char	   *room = palloc(LEAD + (Size) plain_len + 1);

	memset(room, 0, LEAD);
	if (pglz_decompress((const char *) datum + VARHDRSZ_COMPRESSED, len, room + LEAD, plain_len,
						true) != (int32) plain_len)
		return NULL;
	return room + LEAD;
}

/* The server's function has no byte to spare behind the value */
static char *
expand_lz4(const struct varlena *datum, uint32 plain_len)
{
	struct varlena *expanded = lz4_decompress_datum(datum);
	char	   *plain;

	if (VARSIZE(expanded) - VARHDRSZ != plain_len)
		return NULL;
	plain = palloc((Size) plain_len + 1);
	memcpy(plain, VARDATA(expanded), plain_len);
	pfree(expanded);
	return plain;
}

FloCompressed *
flo_compressed_read(char letter, char *bytes, uint32 len, uint32 plain_len)
{
	char		method = pg_ascii_tolower(letter);
	bool		pglz = method == TOAST_PGLZ_COMPRESSION;
	bool		plain = letter != method;
	FloCompressed *compressed;
	Size		size = VARHDRSZ_COMPRESSED + (Size) len;

	/*
	 * A server takes what it has stored for plain unless it is shorter than
	 * that would be
	 */
	if ((!pglz && method != TOAST_LZ4_COMPRESSION) ||
		(plain ? len != plain_len : plain_len > FLO_EXPANDED_MAX || size - VARHDRSZ >= plain_len))
		return NULL;
	compressed = palloc0(sizeof(FloCompressed));
	compressed->method = method;
	compressed->plain = bytes;
	if (plain)
		return compressed;
	compressed->datum = palloc(size + TAIL);
	SET_VARSIZE_COMPRESSED(compressed->datum, size);
	TOAST_COMPRESS_SET_SIZE_AND_COMPRESS_METHOD(compressed->datum, plain_len,
												pglz ? TOAST_PGLZ_COMPRESSION_ID :
												TOAST_LZ4_COMPRESSION_ID);
	memcpy((char *) compressed->datum + VARHDRSZ_COMPRESSED, bytes, len);
	memset((char *) compressed->datum + size, 0, TAIL);
	compressed->plain = pglz ? expand_pglz(compressed->datum, len, plain_len) :
		expand_lz4(compressed->datum, plain_len);
	return compressed->plain != NULL ? compressed : NULL;
}

const FloCompressed *
flo_compressed_form(const FloTuple *tuple, const FloValue *value)
{
	const FloCompressed *compressed = tuple->compressed;

	while (compressed != NULL && compressed->plain != value->data)
		compressed = compressed->next;
	return compressed;
}
