/*
 * value.h
 *		A value as it travels, as text and as a Datum of its column's type.
 */
#ifndef FLO_VALUE_H
#define FLO_VALUE_H

#include "fmgr.h"
#include "wire/change.h"

/* Everything needed to read the values of one source column */
typedef struct FloReader
{
	char	   *column;			/* for messages */
	Oid			type;			/* ours: for a domain, the type below; invalid
								 * when not known here */
	char	   *type_text;		/* what the source calls it */
	int32		typmod;
	Oid			collation;
	bool		builtin;		/* the type's functions are the server's own */
	bool		is_text;		/* binary form, text form and contents are one */
	bool		has_receive;
	FmgrInfo	input;
	Oid			input_param;
	FmgrInfo	receive;
	Oid			receive_param;
	FmgrInfo	output;
} FloReader;

/*
 * Look up a column's type; needs the catalogs.  A type that does not exist
 * here is no error until a value must be understood.  Lives in the current
 * memory context.
 */
extern void flo_reader_init(FloReader *reader, const FloColumn *column, Oid collation);

/* Raise 42704 when the column's type does not exist here */
extern void flo_reader_require_type(const FloReader *reader);

/*
 * The value, which is text or binary; in the current memory context, or where
 * it stood.  Text is converted from client_encoding.
 */
extern Datum flo_reader_datum(FloReader *reader, const FloValue *value);
extern const char *flo_reader_text(FloReader *reader, const FloValue *value, int *len);

/*
 * Make the value this text of the database's encoding, in the current memory
 * context and in client_encoding, as text from the source is.
 */
extern void flo_value_set_text(FloValue *value, const char *text, int len);

#endif
