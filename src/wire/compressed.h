/*
 * compressed.h
 *		Values that the source's server has compressed, or tried to.
 *
 * A destination that compresses a column alike stores a compressed value as it came:
 * the source need not expand it, nor the destination compress it, and fewer bytes
 * travel.  Of one that could not be made smaller it need not try again.  Who reads a
 * change always has the plain value (FloValue.data), and beside it, for whom it
 * concerns, the form that it came in.
 */
#ifndef FLO_COMPRESSED_H
#define FLO_COMPRESSED_H

#include "lib/stringinfo.h"
#include "wire/change.h"

/* What the values of one message come to, expanded, at most: the others travel plain */
#define FLO_EXPANDED_MAX	(64 * 1024 * 1024)

/* Methods of compression, as a set */
#define FLO_METHOD_PGLZ		0x01
#define FLO_METHOD_LZ4		0x02

/* Those that this server can expand */
#ifdef USE_LZ4
#define FLO_METHODS_HERE	(FLO_METHOD_PGLZ | FLO_METHOD_LZ4)
#else
#define FLO_METHODS_HERE	FLO_METHOD_PGLZ
#endif

typedef struct FloCompressed
{
	struct FloCompressed *next; /* of the same row */
	char	   *plain;			/* FloValue.data of the value that it is */
	struct varlena *datum;		/* as a server keeps it; NULL: plain, as
								 * compression gains nothing */
	char		method;			/* as in pg_attribute.attcompression */
} FloCompressed;

/* May this value travel so, to readers of these methods? */
extern bool flo_compressed_travels(const struct varlena *datum, int methods);

/* How long it is when it is expanded */
extern uint32 flo_compressed_plain_len(const struct varlena *datum);

/*
 * Append it as a value of a row whose plain form would be of "kind"; or bytes that
 * were found to be no smaller by this method
 */
extern void flo_compressed_put(StringInfo out, char kind, const struct varlena *datum);
extern void flo_compressed_put_plain(StringInfo out, char kind, char method, const char *bytes,
									 uint32 len);

/*
 * The other way round: made of a value's bytes, and expanded, with a byte behind it
 * that may be overwritten, in the current memory context.  "letter" is the method's, in
 * upper case for bytes that are plain.  NULL when there is no such method, and for bytes
 * that it cannot have made of a value of this length.
 */
extern FloCompressed *flo_compressed_read(char letter, char *bytes, uint32 len, uint32 plain_len);

/* The form that this value of the row came in; NULL: plain, or another value took its place */
extern const FloCompressed *flo_compressed_form(const FloTuple *tuple, const FloValue *value);

#endif
