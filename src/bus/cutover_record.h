/*
 * cutover_record.h
 *		What a worker says of cut-overs to it: "cutover.<consumer>" in the state
 *		bucket, said again for ever.
 */
#ifndef FLO_CUTOVER_RECORD_H
#define FLO_CUTOVER_RECORD_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "wire/record.h"

#define FLO_CUTOVER_PREFIX "cutover."

/* What a destination has come to; the last three are final for that attempt */
typedef enum FloCutoverAnswer
{
	FLO_ANSWER_NONE,			/* no attempt is known there */
	FLO_ANSWER_PREPARING,		/* it has read of it, hence what stands before
								 * that in the stream */
	FLO_ANSWER_PREPARED,
	FLO_ANSWER_ARRIVED,
	FLO_ANSWER_CHECKED,
	FLO_ANSWER_CANCELLED,
	FLO_ANSWER_OPEN
} FloCutoverAnswer;

typedef struct FloCutoverRecord
{
	char	   *consumer;		/* from the key */
	char	   *worker;
	bool		tables;			/* it writes to tables; else sends events */
	bool		allowed;		/* its option allow_cutover */
	uint64		attempt;
	int			state;			/* a FloCutoverAnswer */
	char	   *sqlstate;		/* these three of why it is cancelled; NULL */
	char	   *problem;
	char	   *hint;
	char	   *detail;			/* what it is at, for people; NULL */
	TimestampTz at;				/* since when it is so, by its clock */
} FloCutoverRecord;

extern const FloRecordFormat flo_cutover_record_format;

extern char *flo_cutover_key(const char *consumer);

/*
 * "key" alone or as the subject it is published under; NULL when it is not such a
 * key, and, told with a WARNING, for what cannot be read.
 */
extern FloCutoverRecord *flo_cutover_record_read(const char *key, const char *value);

#endif
