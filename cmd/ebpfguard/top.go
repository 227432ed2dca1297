package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard/api/client"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/internal/duration"
)

func newTopCommand() *cobra.Command {
	var daemon remote
	once, interval := false, time.Second
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch decisions live",
		Long: `Watch decisions live: how many operations per second the rules decide, what is
denied, which rules decide most, and which alerts are lost.

It fits a terminal of 80 columns and 24 lines; a larger one shows more rules.
The key p pauses and continues, q quits. With --once, or if the output is not a
terminal, it prints one frame as text after one interval.

What no pattern matches is allowed and not counted, as in
'ebpfguard status'. DENIED includes KILLED.`,
		Example: `  ebpfguard top
  ebpfguard top --interval 5s
  ebpfguard top --once`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if interval < 100*time.Millisecond {
				return usagef("--interval %s is too short; write at least 100ms", duration.Text(interval))
			}
			if once || !isTerminal(cmd.OutOrStdout()) {
				return daemon.topOnce(cmd, interval)
			}
			return daemon.topLive(cmd, interval)
		},
	}
	daemon.add(cmd)
	cmd.Flags().BoolVar(&once, "once", false, "print one frame and exit")
	cmd.Flags().DurationVar(&interval, "interval", interval, "ask the daemon this often, a `duration`")
	return cmd
}

// topOnce prints one frame: two looks, for what happens in a second.
func (r *remote) topOnce(cmd *cobra.Command, interval time.Duration) error {
	frame := topFrame{width: 80, height: 24}
	ctx, cancel := context.WithTimeout(cmd.Context(), interval+questionTime)
	defer cancel()
	err := r.call(ctx, cmd, func(ctx context.Context, guard *client.Client) error {
		for look := range 2 {
			if look > 0 {
				time.Sleep(interval)
			}
			status, err := guard.Status(ctx, &pb.StatusRequest{})
			if err != nil {
				return err
			}
			frame.add(snapshot{status, time.Now()})
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(cmd.OutOrStdout(), frame.String())
	return err
}

// topLive shows frames until the user quits.
func (r *remote) topLive(cmd *cobra.Command, interval time.Duration) error {
	return r.call(cmd.Context(), cmd, func(ctx context.Context, guard *client.Client) error {
		look := func() tea.Msg {
			ctx, cancel := context.WithTimeout(ctx, questionTime)
			defer cancel()
			status, err := guard.Status(ctx, &pb.StatusRequest{})
			if err != nil {
				return topError{r.explain("top", err)}
			}
			return snapshot{status, time.Now()}
		}
		model := topModel{frame: topFrame{width: 80, height: 24, keys: true}, interval: interval, look: look}
		_, err := tea.NewProgram(model, tea.WithContext(ctx), tea.WithOutput(cmd.OutOrStdout())).Run()
		if errors.Is(err, tea.ErrInterrupted) {
			return nil
		}
		return err
	})
}

// topModel is top on a terminal.
type topModel struct {
	frame    topFrame
	interval time.Duration
	look     tea.Cmd
}

type (
	topTick  struct{}
	topError struct{ error }
)

// Init implements tea.Model.
func (m topModel) Init() tea.Cmd { return m.look }

// Update implements tea.Model. An error does not end it: the
// daemon may restart.
func (m topModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	again := tea.Tick(m.interval, func(time.Time) tea.Msg { return topTick{} })
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.frame.width, m.frame.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "esc", "ctrl+c":
			return m, tea.Quit
		case "p", "space":
			m.frame.paused = !m.frame.paused
		}
	case snapshot:
		if !m.frame.paused {
			m.frame.add(msg)
		}
		return m, again
	case topError:
		m.frame.err = msg
		return m, again
	case topTick:
		return m, m.look
	}
	return m, nil
}

// View implements tea.Model.
func (m topModel) View() tea.View {
	v := tea.NewView(m.frame.String())
	v.AltScreen = true
	v.WindowTitle = "ebpfguard top"
	return v
}
