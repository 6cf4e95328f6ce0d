/*
 * messages.h
 *		Inputs that hold messages of the logical replication protocol.
 */
#ifndef FLO_FUZZ_MESSAGES_H
#define FLO_FUZZ_MESSAGES_H

struct FloChange;

typedef struct FuzzMessages
{
	int			encoding;
	const char *next;
	const char *end;
} FuzzMessages;

/* False when the input is too short to hold any */
extern bool fuzz_messages_open(FuzzMessages *messages, const char *data, size_t len);

/* The next message, palloc'd; false at the end */
extern bool fuzz_messages_next(FuzzMessages *messages, char **message, uint32 *len);

/* The change as an event, which must be JSON; its text is in client_encoding */
extern void fuzz_write_event(const struct FloChange *change);

#endif
