/*
 * cutover.h
 *		What the source of a cut-over tells its destination, in the stream:
 *		payload of a message of pg_flo's.
 */
#ifndef FLO_WIRE_CUTOVER_H
#define FLO_WIRE_CUTOVER_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/* Numbers of attempts go up one by one: one beyond this is nobody's */
#define FLO_CUTOVER_ATTEMPT_MAX (INT64CONST(1) << 62)

typedef enum FloCutoverOrder
{
	FLO_ORDER_CHECK,			/* could you? nothing is done */
	FLO_ORDER_PREPARE,			/* fence, and the way back */
	FLO_ORDER_FENCED,			/* nothing of this source comes after this
								 * transaction */
	FLO_ORDER_OPEN,				/* the fence may be taken down there */
	FLO_ORDER_CANCEL,			/* do not open, and say so; or say that you
								 * have */
	FLO_ORDER_OVER				/* the source has taken back its part: so can
								 * you */
} FloCutoverOrder;

typedef struct FloCutoverTable
{
	char	   *schema;
	char	   *name;
} FloCutoverTable;

typedef struct FloCutoverMessage
{
	uint64		attempt;
	int			order;			/* a FloCutoverOrder */
	char	   *consumer;		/* of the worker that it is for */
	char	   *reverse;		/* group of the way back, NULL = none */
	List	   *tables;			/* of FloCutoverTable *: the group's; with
								 * check and prepare */
	Jsonb	   *options;		/* of the replicator, for that of the way back */
	bool		opens;			/* with fenced: open at once */
	char	   *reason;			/* with cancel, for people */
} FloCutoverMessage;

extern char *flo_cutover_format(const FloCutoverMessage *message);

/* Throws 08P01 for anything else, 0A000 for a later version */
extern FloCutoverMessage *flo_cutover_parse(const char *json, size_t len);

#endif
