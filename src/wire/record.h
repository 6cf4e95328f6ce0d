/*
 * record.h
 *		JSON documents that cross hosts, read into structs and written from them.
 *
 * A document is described once, by a table of its fields: name, type, whether
 * it must be there, bounds, and where it goes in a struct.  Who reads one gets
 * a struct in which every field was checked, or an error 08P01 that names the
 * document and the field; nobody takes JSON apart by hand.  Documents are
 * UTF-8, whatever the databases are, but for those that are "local".
 *
 * Fields may be added to a version: readers pass over those they do not know.
 * A change after which an older reader would be wrong needs another version,
 * which it refuses with 0A000.
 */
#ifndef FLO_RECORD_H
#define FLO_RECORD_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

/* The text form of a uuid, with its end */
#define FLO_UUID_BUF 37

typedef enum FloFieldType
{
	/*
	 * the JSON, and what it becomes in the struct; zero values when it is not
	 * there
	 */
	FLO_FIELD_TEXT,				/* string: char *, NULL; "max" bytes unless
								 * that is 0 */
	FLO_FIELD_TYPE,				/* string, a type as format_type() writes it
								 * and nothing else, as it gets into
								 * statements: char *, NULL */
	FLO_FIELD_ENUM,				/* string: int, its place among "names" */
	FLO_FIELD_UUID,				/* string: char[FLO_UUID_BUF], "" */
	FLO_FIELD_LSN,				/* string "X/X": XLogRecPtr */
	FLO_FIELD_TIME,				/* string, ISO 8601: TimestampTz */
	FLO_FIELD_SYSTEM,			/* string, as most tools keep 53 bits of a
								 * number: uint64 */
	FLO_FIELD_INT64,			/* whole number from "min" to "max": int64 */
	FLO_FIELD_UINT64,			/* the same from 0 on: uint64 */
	FLO_FIELD_UINT32,			/* the same within 32 bits: uint32 */
	FLO_FIELD_BOOL,				/* true or false: bool */
	FLO_FIELD_OIDS,				/* array of numbers: List of Oid */
	FLO_FIELD_TEXTS,			/* array of strings: List of char * */
	FLO_FIELD_UUIDS,			/* the same */
	FLO_FIELD_RECORDS,			/* array of objects, each as "of" says: List
								 * of pointers to its struct */
	FLO_FIELD_JSON				/* anything: Jsonb * */
} FloFieldType;

typedef struct FloRecordFormat FloRecordFormat;

typedef struct FloField
{
	const char *name;
	FloFieldType type;
	bool		required;
	size_t		offset;
	int64		min;			/* of numbers; with "max" 0: any */
	int64		max;
	const char *const *names;	/* of an enum, ended by NULL */
	const char *formerly;		/* how 0.1 called it, if otherwise */
	int64		otherwise;		/* of an optional int64: what it is when it is
								 * not there */
	const FloRecordFormat *of;
} FloField;

struct FloRecordFormat
{
	int			version;		/* 0 = part of another document */
	size_t		size;			/* of the struct */
	const FloField *fields;
	int			nfields;

	/*
	 * Texts are for people only: characters that a database does not have
	 * become '?'.  Else they are an error.
	 */
	bool		shown_only;

	/* Read so, too, but written as it is */
	bool		nearest;

	/*
	 * In the encoding of the database at hand: who moves it to another one
	 * converts it
	 */
	bool		local;

	/*
	 * Documents of 0.1 have no version.  They are read if this is set, a
	 * number that they lack as zero; called, it says what that means.
	 */
	void		(*unversioned) (void *record);
};

#define FLO_REQUIRED true
#define FLO_OPTIONAL false

/* {FLO_FIELD(FloThing, lsn, FLO_FIELD_LSN, FLO_REQUIRED)}: the field is called as in the struct */
#define FLO_FIELD(record, field, type, required) #field, type, required, offsetof(record, field)

/*
 * What more is said of a field, behind that: bounds, words of an enum, the
 * format of an array's objects.
 */
#define FLO_IN(lowest, highest) .min = (lowest), .max = (highest)
#define FLO_AT_LEAST(lowest) .min = (lowest), .max = PG_INT64_MAX
#define FLO_AT_MOST(bytes) .max = (bytes)
#define FLO_ONE_OF(words) .names = (words)
#define FLO_OF(format) .of = &(format)
#define FLO_OTHERWISE(value) .otherwise = (value)
#define FLO_FORMERLY(name) .formerly = (name)

/*
 * The document as a struct, in the current memory context.  Needs no
 * transaction.  "key" is what errors call the document.
 */
extern void *flo_record_read(const FloRecordFormat *format, const char *key, const char *json,
							 size_t len);

/* The struct as a document, palloc'd */
extern char *flo_record_write(const FloRecordFormat *format, const void *record);

/*
 * A document with nothing but ASCII in it, palloc'd: what comes through places
 * that know neither its encoding nor the reader's
 */
extern char *flo_record_ascii(const char *json);

/* Times as in documents; "parse" is false for anything else */
extern char *flo_time_format(TimestampTz time);
extern bool flo_time_parse(const char *text, TimestampTz *time);

#endif
