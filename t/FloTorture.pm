
=head1 NAME

FloTorture - faults at random: what a round is to bring, doing it, and judging what came of it

=head1 SYNOPSIS

  my $torture = FloTorture->new(seed => 7);
  $torture->round($_) for 1 .. 10;
  $torture->summary;

=head1 DESCRIPTION

Two clusters, a broker and a network between (a proxy for each side).  Two groups: C<g>
is schema public with DDL, whose large transactions come early and which masks table
people, half of it at the source; C<l> has a list of tables of schema side.  Both end in
tables, and the moves of C<g> in files as well.

What a round brings is drawn from the seed and the number of the round alone, before it
begins: the same seed plans the same.  What runs at the moment of a fault, and so what it
hits, is chance.

=cut

package FloTorture;

use strict;
use warnings;
use Carp;
use FloEvents;
use FloProxy;
use FloTest;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use constant FAULTS_A_ROUND => 25;

# How long the source keeps WAL that the broker has, and how much of that a broker may forget
use constant { SYNC_INTERVAL => 6, FORGETS => 2.5 };

# What may happen, how often beside the others, and on how many sides
my @faults = (
	[ kill_member => 14, 2 ],
	[ kill_helper => 5, 2 ],
	[ kill_server_process => 5, 2 ],
	[ end_process => 5, 2 ],
	[ kill_all => 3, 2 ],
	[ kill_postmaster => 1, 2 ],
	[ stop_immediate => 2, 2 ],
	[ restart_fast => 1, 2 ],
	[ kill_broker => 4, 1 ],
	[ restart_broker => 1, 1 ],
	[ broker_forgets => 1, 1 ],
	[ stuck_broker => 1, 1 ],
	[ network => 3, 2 ],
	[ large_transaction => 4, 1 ],
	[ ddl => 4, 1 ],
	[ membership => 3, 1 ],
	[ rule => 2, 2 ],
	[ resync_table => 1, 1 ],
	[ resync_group => 1, 1 ]);

# Each third round one of the servers is replaced by its standby, the sides by turns
use constant PROMOTION_EACH => 3;

my @masks = ([ 1, 1 ], [ 2, 0 ], [ 0, 3 ], [ 2, 2 ]);

sub new
{
	my ($class, %param) = @_;
	my $self = bless { seed => $param{seed}, count => {}, rounds => 0, rows => 0, looks => 0, torn => 0, number => 0 },
	  $class;
	my $interval = SYNC_INTERVAL;

	$self->{nats} = FloTest::Nats->new('broker');
	$self->{proxy}{$_} = FloProxy->new($self->{nats}->port) for qw(source dest);
	$self->{$_} = flo_node($_, $self->{proxy}{$_}, conf => <<"CONF") for qw(source dest);
pg_flo.broker_sync_interval = '${interval}s'
pg_flo.restart_interval = '300ms'
logical_decoding_work_mem = '64kB'
max_wal_senders = 5
wal_keep_size = '256MB'
autovacuum_naptime = '5s'
CONF
	$self->{events} = PostgreSQL::Test::Utils::tempdir() . '/events';
	mkdir $self->{events};
	$self->_make_groups;
	return $self;
}

sub _make_groups
{
	my ($self) = @_;
	my ($source, $dest) = @$self{qw(source dest)};

	transfer_tables($source, $dest);
	$_->safe_psql('postgres', <<'SQL') for $source, $dest;
CREATE TABLE people (id int PRIMARY KEY, email text NOT NULL, phone text NOT NULL, touched int NOT NULL DEFAULT 0);
CREATE TABLE big (id bigint PRIMARY KEY, v text);
CREATE SCHEMA side;
DO $$ BEGIN FOR i IN 1 .. 6 LOOP
	EXECUTE format('CREATE TABLE side.t%s (id int PRIMARY KEY, v int, w text)', i); END LOOP; END $$;
SQL
	$source->safe_psql('postgres', <<'SQL');
INSERT INTO accounts SELECT i, 1000 FROM generate_series(1, 100) i;
INSERT INTO people SELECT i, format('person%s@example.com', 1000 + i), format('+49 30 %s', 100000 + i)
	FROM generate_series(1, 200) i;
DO $$ BEGIN FOR i IN 1 .. 6 LOOP
	EXECUTE format('INSERT INTO side.t%s SELECT j, 0, md5(j::text) FROM generate_series(1, 1000) j', i);
	END LOOP; END $$;
INSERT INTO flo.rules (group_name, stage, table_name, column_name, action, arguments)
	VALUES ('g', 'replicator', 'people', 'phone', 'mask', '{"keep_first": 1, "keep_last": 1}');
SQL
	$dest->safe_psql('postgres', <<'SQL');
INSERT INTO flo.rules (group_name, worker_name, table_name, column_name, action, arguments)
	VALUES ('g', 'postgres', 'people', 'email', 'mask', '{"keep_first": 1, "keep_last": 1}');
SQL
	$source->safe_psql('postgres', <<'SQL');
SELECT flo.create_replicator('g', schemas => '{public}', mode => 'copy_and_stream', track_ddl => true,
	options => '{"large_transactions": "early", "large_transaction_size": "64kB"}');
SELECT flo.create_replicator('l', tables => '{side.t1,side.t2,side.t3}', mode => 'copy_and_stream');
SELECT flo.start_group('g'), flo.start_group('l');
SQL
	$dest->safe_psql('postgres', <<'SQL');
SELECT flo.create_worker('g', options => '{"ddl_trust": "source"}'), flo.create_worker('l');
SELECT flo.start_group('g'), flo.start_group('l');
SQL
	for (qw(g l))
	{
		wait_state($dest, $_, 'postgres', 'streaming');
		wait_state($source, $_, 'replicator', 'streaming');
	}
	create_event_worker($dest, 'g', 'file', 'file',
		{ directory => $self->{events}, max_size => '5MB', tables => ['moves'] });
}

=pod

=head2 planned($round)

What a round is to bring: a list of faults, each with its side, numbers in [0, 1) that
decide the rest, and how long to wait afterwards.

=cut

sub planned
{
	my ($self, $round) = @_;
	my (@lots, @plan);

	srand($self->{seed} * 100_000 + $round);
	push @lots, ($_) x $_->[1] for @faults;
	for (1 .. FAULTS_A_ROUND)
	{
		my $fault = $lots[ int(rand(@lots)) ];

		push @plan, {
			fault => $fault->[0],
			side => $fault->[2] == 1 ? '' : (qw(source dest))[ int(rand(2)) ],
			x => rand(),
			y => rand(),
			# some come in one burst
			pause => rand() < 0.3 ? 0 : rand(0.5) };
	}
	if ($round % PROMOTION_EACH == 0)
	{
		my $side = (qw(source dest))[ $round / PROMOTION_EACH % 2 ];

		$plan[ int(rand(@plan)) ] = { fault => 'promotion', side => $side, x => rand(), y => rand(), pause => 0 };
	}
	return @plan;
}

=pod

=head1 A ROUND

=head2 round($number)

Brings what is planned under a load, lets all come to rest, and compares.  True when both
sides are the same and everything works.

=cut

sub round
{
	my ($self, $round) = @_;
	my @plan = $self->planned($round);

	# what is told from here on is this round's
	($self->{events_from}) = reverse event_files($self->{events});
	$self->{told} = () = file_lines($self->{events}, $self->{events_from});
	my $load = transfer_load($self->{source}, clients => 2, rate => 150);
	$self->{begun} = time();
	$self->{sessions} = [];
	$self->{done} = ["round $round"];
	$self->{anew} = 0;
	for my $event (@plan)
	{
		my ($fault, $side) = @$event{qw(fault side)};

		stop_load($load) if $fault eq 'promotion' && $side eq 'source';
		my $what = $self->$fault($event);
		$self->{count}{$what}++ if $what;
		$self->_did($event, $what || 'nothing: ' . ($self->{complaint} =~ s/\n.*//sr));
		$load = transfer_load($self->{source}, clients => 2, rate => 150) if $fault eq 'promotion' && $side eq 'source';
		$self->_write($event);
		$self->_look;
		sleep $event->{pause};	# sleeps: the moment of the next fault is a random one
	}
	stop_load($load);
	return $self->_rest($round);
}

# What has happened, in the order of time; it is shown when a round goes wrong
sub _did
{
	my ($self, $event, $what) = @_;

	push @{ $self->{done} }, sprintf '%.1f s: %s [%s %s]', time() - $self->{begun}, $what, @$event{qw(fault side)};
}

# The answer of a query, '' when the server is away or goes away before it has read it
sub ask
{
	my ($self, $node, $query) = @_;
	my ($out, $err) = ('', '');
	my $rc = eval { $node->psql('postgres', $query, stdout => \$out, stderr => \$err, timeout => $FloTest::timeout) };

	die $@ if $@ ne '' && $@ !~ /Broken pipe/;
	$self->{complaint} = $err;
	return defined $rc && $rc == 0 && defined $out ? $out : '';
}

# The same, which does not return before the server is there again
sub insist
{
	my ($self, $node, $query) = @_;

	wait_until($node, 'postgres', 'SELECT true', $node->name) or croak $node->name . ' is away';
	return $self->ask($node, $query);
}

# What others write meanwhile: the masked table, the listed ones, those that DDL has made
sub _write
{
	my ($self, $event) = @_;
	my $n = int($event->{x} * 900);
	my $made = (grep { /^d_/ } split /\n/, $self->ask($self->{source}, "SELECT relname FROM pg_class
		WHERE relkind = 'r' AND relname ~ '^d_' AND relnamespace = 'public'::regnamespace ORDER BY 1"))[0];

	$self->ask($self->{source}, "BEGIN;
		UPDATE people SET touched = touched + 1, email = replace(email, 'n1', 'n2') WHERE id % 10 = $n % 10;
		UPDATE side.t1 SET v = v + 1 WHERE id BETWEEN $n AND $n + 50;
		DELETE FROM side.t2 WHERE id BETWEEN $n AND $n + 20;
		INSERT INTO side.t2 SELECT j, $n, 'again' FROM generate_series(1, 1000) j ON CONFLICT DO NOTHING;
		UPDATE side.t4 SET v = v + 1 WHERE id < 50; UPDATE side.t5 SET w = w || 'x' WHERE id = $n;" .
		($made ? "UPDATE $made SET v = v || 'u' WHERE id % 7 = $n % 7;" : '') . ' COMMIT');
}

# A reader at the destination; where all is copied anew he sees parts of it, as he should
sub _look
{
	my ($self) = @_;
	return if $self->{anew};
	my $sum = $self->ask($self->{dest}, 'SELECT sum(balance) FROM accounts');

	return if $sum eq '';
	$self->{looks}++;
	$self->{torn}++ if $sum ne '100000';
}

# --- judging -------------------------------------------------------------------------------------

# Everything comes to rest, and is the same
sub _rest
{
	my ($self, $round) = @_;
	my ($source, $dest) = @$self{qw(source dest)};

	$self->{rounds}++;
	$_->does('pass') for values %{ $self->{proxy} };
	$_->finish for @{ $self->{sessions} };
	wait_until($_, 'postgres', 'SELECT true', $_->name) or croak $_->name . ' is away' for $source, $dest;
	# what rules said before, they say anew
	$source->safe_psql('postgres', 'UPDATE people SET touched = touched + 1');
	my $good = ok($self->_settles, "round $round: all is at rest")
	  && is($self->_rows($dest, 'dest'), $self->_rows($source, 'source'), "round $round: both sides are the same")
	  && ($self->{anew} || is($self->_events, '', "round $round: events are what they are to be"));
	$self->_did({ fault => '', side => '' }, $good ? 'at rest' : 'broken');
	append_to_file("$PostgreSQL::Test::Utils::log_path/torture.log", join("\n", @{ $self->{done} }, ''));
	return (diag(join "\n", @{ $self->{done} }), 0)[1] if !$good;
	$source->safe_psql('postgres', 'TRUNCATE moves, big');
	return 1;
}

sub _settles
{
	my ($self) = @_;
	my ($source, $dest) = @$self{qw(source dest)};
	my $works = q{SELECT count(*) FILTER (WHERE state = 'streaming') = count(*) FROM flo.status};

	return eval {
		wait_until($source, 'postgres', 'SELECT count(*) = 0 FROM flo.copy_requests', 'the copies to be in')
		  && wait_until($source, 'postgres', $works, 'the source to stream')
		  && wait_until($dest, 'postgres', $works, 'the destination to stream')
		  or die "no rest\n";
		wait_caught_up($source, $dest, $_) for qw(g l);
		wait_until($dest, 'postgres', $works, 'the destination to stream') or die "no rest\n";
		my $kept = $dest->safe_psql('postgres',
			'SELECT (SELECT count(*) FROM flo.pending_ddl), (SELECT count(*) FROM flo.dead_letters)');
		die "held statements and dead letters: $kept\n" if $kept ne '0|0';
		1;
	} || (diag($@), 0)[1];
}

# Rows of all tables as they are to be there, a line a table
sub _rows
{
	my ($self, $node, $side) = @_;
	my @tables = split /\n/, $self->{source}->safe_psql('postgres', q{SELECT oid::regclass FROM pg_class
		WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
		UNION ALL SELECT unnest(tables)::regclass FROM flo.replicators WHERE group_name = 'l' ORDER BY 1});
	my $hashes = join ', ', map { "coalesce(sum(hashtextextended(t::text, $_)), 0)" } 1, 2;
	my @lines;

	for my $table (@tables)
	{
		my $from = $table eq 'people' ? $self->_people($side) : "ONLY $table";
		my $line = $node->safe_psql('postgres', "SELECT '$table', count(*), $hashes FROM $from t");

		$self->{rows} += $1 if $side eq 'source' && $line =~ /\|(\d+)\|/;
		push @lines, $line;
	}
	return join "\n", @lines;
}

# The masked table, as the rules of now have it
sub _people
{
	my ($self, $side) = @_;
	return 'people' if $side eq 'dest';
	my %masked;

	for ([ source => 'phone' ], [ dest => 'email' ])
	{
		my ($where, $column) = @$_;
		my ($first, $last) = split /\|/, $self->{$where}->safe_psql('postgres',
			"SELECT arguments->>'keep_first', arguments->>'keep_last' FROM flo.rules WHERE column_name = '$column'");

		$masked{$column} =
		  "left($column, $first) || repeat('*', length($column) - $first - $last) || right($column, $last)";
	}
	return "(SELECT id, $masked{email} AS email, $masked{phone} AS phone, touched FROM people)";
}

# What is wrong with the events of moves that this round has made
sub _events
{
	my ($self) = @_;
	my %there = map { $_ => 1 } split /\n/, $self->{source}->safe_psql('postgres', 'SELECT id FROM moves');
	my @lines = file_lines($self->{events}, $self->{events_from});
	my %told;

	for my $line (@lines[ $self->{told} .. $#lines ])
	{
		return "a torn line: $line" if $line !~ /^\{"Id":"[^"]+","Type":"[A-Z]+",.*\}\n\z/;
		next if $line !~ /"Type":"INSERT".*"NewTuple":\{"id":(\d+)/;
		return "told twice: $1" if $told{$1}++;
	}
	my @missing = grep { !$told{$_} } sort { $a <=> $b } keys %there;
	my @more = grep { !$there{$_} } sort { $a <=> $b } keys %told;

	return join '; ', (@missing ? 'missing: ' . @missing . ", $missing[0] the first" : ()),
	  (@more ? 'of nothing: ' . @more . ", $more[0] the first" : ());
}

=pod

=head2 kills(), summary()

How many processes were ended, or servers stopped; lines that say all that has happened.

=cut

sub kills
{
	my ($self) = @_;
	my $kills = 0;

	$kills += $self->{count}{$_} for grep { /^(kill|end|stop|restart|broker)/ } keys %{ $self->{count} };
	return $kills;
}

sub summary
{
	my ($self) = @_;
	my %count = %{ $self->{count} };

	return ("seed $self->{seed}: $self->{rounds} rounds, " . $self->kills . " kills, $self->{rows} rows compared, "
		  . "$self->{looks} looks at the destination of which $self->{torn} saw parts of a transaction",
		map { sprintf '%6d %s', $count{$_}, $_ } sort keys %count);
}

# --- faults ---------------------------------------------------------------------------------------
# Each returns what was done, '' when it could not be.

sub _victims
{
	my ($self, $side, $condition) = @_;

	return map { [ split /\|/ ] } split /\n/, $self->insist($self->{$side}, "SELECT pid,
		CASE WHEN query ~ '^pg_flo ' THEN substring(query FROM 'pg_flo (copy leader|[a-z]+)') ELSE backend_type END
		FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND ($condition) ORDER BY 2, 1");
}

sub _kill_one
{
	my ($self, $event, @victims) = @_;
	my $victim = $victims[ int($event->{y} * @victims) ] or return '';

	kill('KILL', $victim->[0]) or return '';
	return "kill -9 of a $victim->[1], $event->{side}";
}

sub kill_member
{
	my ($self, $event) = @_;
	return $self->_kill_one($event, $self->_victims($event->{side}, "query ~ '^pg_flo (replicator|worker)'"));
}

# Those that live for a moment, after something that starts them
sub kill_helper
{
	my ($self, $event) = @_;
	my $until = time() + 1.5;
	my @victims;

	$event->{x} < 0.3 ? $self->large_transaction($event)
	  : $event->{x} < 0.9 ? $self->resync_table($event)
	  : $self->ask($self->{source}, q{SELECT flo.compare('l')});
	while (!@victims && time() < $until)
	{
		@victims = $self->_victims($event->{side},
			"query ~ '^pg_flo (copy leader|copier|loader|ahead|builder|comparer|comparison|scanner|agent)'");
	}
	return @victims ? $self->_kill_one($event, @victims) : $self->kill_member($event);
}

sub kill_server_process
{
	my ($self, $event) = @_;
	return $self->_kill_one($event, $self->_victims($event->{side}, "query !~ '^pg_flo (replicator|worker)'"));
}

sub end_process
{
	my ($self, $event) = @_;
	my @victims = $self->_victims($event->{side}, "query ~ '^pg_flo '");
	my $victim = $victims[ int($event->{y} * @victims) ] or return '';

	$self->ask($self->{ $event->{side} }, "SELECT pg_terminate_backend($victim->[0])") eq 't' or return '';
	return "end (SIGTERM) of a $victim->[1], $event->{side}";
}

sub kill_all
{
	my ($self, $event) = @_;
	my $node = $self->{ $event->{side} };

	$node->kill_all;
	$node->start_again;
	return "kill -9 of the whole server, $event->{side}";
}

sub kill_postmaster
{
	my ($self, $event) = @_;
	my $node = $self->{ $event->{side} };
	my ($postmaster, @children) = $node->processes;

	kill 'KILL', $postmaster;
	await(sub { !grep { kill 0, $_ } @children }, 'the processes to see it');
	$node->start_again;
	return "kill -9 of the postmaster, $event->{side}";
}

sub stop_immediate
{
	my ($self, $event) = @_;

	$self->{ $event->{side} }->stop('immediate');
	$self->{ $event->{side} }->start;
	return "stop (immediate), $event->{side}";
}

sub restart_fast
{
	my ($self, $event) = @_;

	wait_until($self->{ $event->{side} }, 'postgres', 'SELECT true', $event->{side});
	$self->{ $event->{side} }->restart;
	return "restart (fast), $event->{side}";
}

sub kill_broker
{
	my ($self, $event) = @_;

	$self->{nats}->kill9;
	sleep $event->{x} if $event->{y} < 0.5;		# sleeps: a while
	$self->{nats}->start;
	return 'kill -9 of the broker';
}

sub restart_broker
{
	my ($self, $event) = @_;

	$self->{nats}->restart;
	return 'restart (orderly) of the broker';
}

sub broker_forgets
{
	my ($self, $event) = @_;
	my $begun = time();

	$self->{nats}->copy_store;
	sleep $event->{x} * FORGETS;		# sleeps: this is what is lost
	# by a machine that was too busy it would be more than it may forget
	return '' if time() - $begun > SYNC_INTERVAL - 2;
	$self->{nats}->restore_store;
	return 'broker that forgets its last seconds';
}

sub stuck_broker
{
	my ($self, $event) = @_;

	$self->{nats}->pause;
	sleep $event->{x} * 2;		# sleeps: a while
	$self->{nats}->resume;
	return 'stuck broker';
}

sub network
{
	my ($self, $event) = @_;
	my $does = (qw(cut half_close stall stall_up stall_down refuse drip delay choke))[ int($event->{x} * 9) ];

	$self->{proxy}{ $event->{side} }->does($does);
	sleep $event->{y};		# sleeps: a while
	$self->{proxy}{ $event->{side} }->does('pass');
	return "network: $does, $event->{side}";
}

# --- work that is no fault ------------------------------------------------------------------------

# One session's work: with a part that is undone, open for a while, with or without a commit
sub large_transaction
{
	my ($self, $event) = @_;
	my $node = $self->{source};
	my $from = ++$self->{number} * 100_000;
	my $end = $event->{y} < 0.7 ? 'COMMIT' : 'ROLLBACK';
	my $nap = sprintf '%.2f', $event->{y} * 1.5;
	my $rows = "INSERT INTO big SELECT $from + g, repeat(md5(g::text), 20) FROM generate_series";

	# sleeps: it is open for a while
	my $sql = "BEGIN; $rows(1, 2000) g; SELECT pg_sleep($nap); SAVEPOINT s; $rows(10001, 11000) g;
		UPDATE big SET v = v || 'x' WHERE id BETWEEN $from AND $from + 500; ROLLBACK TO s; $rows(20001, 22000) g;
		DELETE FROM big WHERE id BETWEEN $from AND $from + 100; $end";

	push @{ $self->{sessions} }, IPC::Run::start(
		[ 'psql', '-qX', '-p', $node->port, '-h', $node->host, '-d', 'postgres', '-c', $sql ],
		'>', \my $out, '2>', \my $err);
	return "large transaction ($end)";
}

sub ddl
{
	my ($self, $event) = @_;
	my @made = split /\n/, $self->insist($self->{source}, "SELECT relname FROM pg_class
		WHERE relkind = 'r' AND relname ~ '^d_' AND relnamespace = 'public'::regnamespace ORDER BY 1");
	my $table = $made[ int($event->{y} * @made) ];
	my $n = ++$self->{number};
	my %statement = (
		create => "CREATE TABLE d_$n (id int PRIMARY KEY, v text, n int);
			INSERT INTO d_$n SELECT i, 'new', i FROM generate_series(1, 100) i",
		add => "ALTER TABLE $table ADD c_$n int DEFAULT $n; UPDATE $table SET c_$n = id WHERE id % 2 = 0",
		type => "ALTER TABLE $table ALTER n TYPE bigint; UPDATE $table SET n = 5000000000 WHERE id = 1",
		rename => "INSERT INTO $table (id, v) VALUES (1000 + $n, 'before'); ALTER TABLE $table RENAME TO d_$n;
			INSERT INTO d_$n (id, v) VALUES (100000 + $n, 'after')",
		index => "CREATE INDEX ON $table (v)",
		moves => "ALTER TABLE moves ADD extra int DEFAULT $n; ALTER TABLE moves DROP extra",
		undone => "SAVEPOINT s; ALTER TABLE $table ADD gone int; ROLLBACK TO s; UPDATE $table SET v = v || 's'",
		truncate => "TRUNCATE $table; INSERT INTO $table (id, v) VALUES (7, 'anew')",
		drop => "DROP TABLE $table");
	my $what = @made < 2 ? 'create' : @made > 8 ? 'drop' : (sort keys %statement)[ int($event->{x} * 9) ];

	$self->{source}->psql('postgres', "BEGIN; $statement{$what}; COMMIT", stderr => \my $err, on_error_stop => 1) == 0
	  or return '';
	return "DDL: $what";
}

sub membership
{
	my ($self, $event) = @_;
	my $table = 'side.t' . (2 + int($event->{x} * 5));
	my $is_in = $self->insist($self->{source},
		"SELECT '$table' = ANY (tables::text[]) FROM flo.replicators WHERE group_name = 'l'");
	my $call = $is_in eq 't' ? 'remove_table' : 'add_table';

	$self->insist($self->{source}, "SELECT 'done' FROM flo.$call('l', '$table')") eq 'done' or return '';
	return $call;
}

sub rule
{
	my ($self, $event) = @_;
	my ($first, $last) = @{ $masks[ int($event->{x} * @masks) ] };
	my $column = $event->{side} eq 'source' ? 'phone' : 'email';

	$self->insist($self->{ $event->{side} }, "UPDATE flo.rules SET arguments = jsonb_build_object('keep_first', $first,
		'keep_last', $last) WHERE column_name = '$column' RETURNING 'done'") =~ /done/ or return '';
	return "rule changed, $event->{side}";
}

sub resync_table
{
	my ($self, $event) = @_;
	my ($group, $table) = @{ ([ 'l', 'side.t1' ], [ 'g', 'people' ], [ 'g', 'big' ])[ int($event->{x} * 3) ] };

	$self->insist($self->{source}, "SELECT 'done' FROM flo.resync('$group', '$table')") eq 'done' or return '';
	return 'resync of a table';
}

sub resync_group
{
	my ($self, $event) = @_;
	my $group = $event->{x} < 0.5 ? 'g' : 'l';

	# what is given up may be definitions, which a copy into tables that are there does not bring
	return '' if $group eq 'g' && !$self->_ddl_is_there;
	$self->insist($self->{source}, "SELECT 'done' FROM flo.resync('$group')") eq 'done' or return '';
	$self->{anew} = 1 if $group eq 'g';
	return "resync of group $group";
}

sub _ddl_is_there
{
	my ($self) = @_;
	my $lsn = $self->insist($self->{source}, 'SELECT pg_current_wal_insert_lsn()');

	return $lsn ne ''
	  && $self->insist($self->{dest}, "SELECT flo.wait_for('g', '$lsn', '20 s', 'postgres')") eq 't';
}

# --- promotions -----------------------------------------------------------------------------------

# The server is gone for good, a moment after a standby was made of it, which takes its place.
# A slot does not come with that of a source: it begins anew, with a copy.  What a destination had
# told, and its standby did not get, may be gone from the stream: that is said, and then it has to.
sub promotion
{
	my ($self, $event) = @_;
	my $side = $event->{side};
	my $old = $self->{$side};

	$self->_ddl_is_there or return '';
	$self->{anew} = 1;
	my $new = $self->_standby_of($old, $side . ++$self->{number});
	sleep $event->{x};		# sleeps: a while
	$old->kill_all;
	$old->{_pid} = undef;
	$new->promote;
	$self->{$side} = $new;
	wait_until($new, 'postgres', 'SELECT NOT pg_is_in_recovery()', 'the promotion') or croak 'no promotion';
	$old->clean_node;
	my $what = "promotion, $side";
	if ($side eq 'source') { $self->_begin_anew($_, 'lost slot') for qw(g l); }
	else { $what .= ', with a resync' if grep { $self->_lags_behind($_) } qw(g l); }
	$self->{count}{"kill -9 of the whole server, $side"}++;
	return $what;
}

sub _standby_of
{
	my ($self, $node, $name) = @_;
	my $standby = FloTest::Cluster->new($name);

	wait_until($node, 'postgres', 'SELECT true', $node->name);
	$node->backup($name);
	$standby->init_from_backup($node, $name, has_streaming => 1);
	$standby->start;
	$node->wait_for_catchup($standby);
	return $standby;
}

sub _begin_anew
{
	my ($self, $group, $because) = @_;
	my $source = $self->{source};

	wait_until($source, 'postgres', "SELECT state = 'failed' AND detail ~ '$because' FROM flo.status
		WHERE group_name = '$group'", "$group to be failed: $because")
	  or croak "$group is not failed: $because";
	$source->safe_psql('postgres', "SELECT flo.resync('$group')");
}

sub _lags_behind
{
	my ($self, $group) = @_;
	my $dest = $self->{dest};

	wait_until($dest, 'postgres', "SELECT bool_and(state = 'streaming' OR state = 'failed' AND detail ~ '^gap')
		FROM flo.status WHERE group_name = '$group'", "$group to go on")
	  or croak "$group does not go on";
	return 0 if $dest->safe_psql('postgres',
		"SELECT count(*) FROM flo.status WHERE group_name = '$group' AND state = 'failed'") eq '0';
	$self->insist($self->{source}, "SELECT flo.resync('$group')");
	$dest->safe_psql('postgres', "SELECT flo.start_group('$group')");
	return 1;
}

1;
