/*
 * convert.h
 *		A value as it travelled to a Datum of a destination column's type.
 */
#ifndef FLO_CONVERT_H
#define FLO_CONVERT_H

#include "fmgr.h"
#include "wire/change.h"

/* A value converted before: FloValue.data is the Datum */
#define FLO_VALUE_DATUM 'd'

/*
 * How the binary form of the source's type becomes a value of ours: when the types
 * are one, mostly without its receive function, but refused as that would
 */
typedef enum FloBinaryPath
{
	FLO_BINARY_UNKNOWN,			/* no binary value was seen yet */
	FLO_BINARY_BOOL,
	FLO_BINARY_16,				/* all numbers of so many bits are values */
	FLO_BINARY_32,
	FLO_BINARY_64,
	FLO_BINARY_DATE,			/* those in the range; of others the function
								 * decides */
	FLO_BINARY_TIME,
	FLO_BINARY_TIMESTAMP,
	FLO_BINARY_UUID,
	FLO_BINARY_BYTES,
	FLO_BINARY_TEXT,
	FLO_BINARY_VARCHAR,			/* text of so many bytes */
	FLO_BINARY_CHAR,			/* text of exactly so many characters */
	FLO_BINARY_DIRECT,			/* receive function */
	FLO_BINARY_VIA_TEXT			/* source's receive and output, then our input */
} FloBinaryPath;

/* Everything needed to read one column, looked up once */
typedef struct FloConverter
{
	Oid			source_type;
	Oid			type;			/* ours */
	int32		typmod;			/* ours */
	MemoryContext context;		/* of what the functions remember */

	FmgrInfo	input;
	Oid			input_param;

	FloBinaryPath binary_path;
	uint32		length;			/* what the path says that values have */
	FmgrInfo	receive;		/* of source_type */
	Oid			receive_param;
	FmgrInfo	output;			/* of source_type, for FLO_BINARY_VIA_TEXT */
} FloConverter;

/* "context" must live as long as the converter */
extern void flo_converter_init(FloConverter *converter, Oid source_type,
							   Oid type, int32 typmod, MemoryContext context);

/*
 * The value, which is text or binary, in the current memory context.  Text is
 * converted from client_encoding.  Writes a zero behind the value meanwhile:
 * a caller that catches an error calls flo_convert_restore() before anybody
 * reads the message again.
 */
extern Datum flo_convert(FloConverter *converter, const FloValue *value);
extern void flo_convert_restore(void);

#endif
