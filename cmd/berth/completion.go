package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/client"
)

const (
	completionTime = 2 * time.Second // a shell waits for no longer
	completionMax  = 100             // more than anybody looks through
)

// completeTasks completes the IDs of tasks.
func (a *app) completeTasks(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	return a.suggest(c, begun, func(ctx context.Context, add func(name, about string) bool) {
		for t, err := range a.client().Tasks(ctx, client.TaskQuery{}) {
			if err != nil || !add(string(t.ID), lastPart(t.DefinitionARN)+" "+string(t.LastStatus)) {
				return
			}
		}
	})
}

// completeDefinitions completes the names of definitions.
func (a *app) completeDefinitions(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.suggest(c, begun, func(ctx context.Context, add func(name, about string) bool) {
		for d, err := range a.client().Definitions(ctx, client.DefinitionQuery{}) {
			if err != nil || !add(nameOf(d), containersOf(d)) {
				return
			}
		}
	})
}

// completeImages completes the names of images.
func (a *app) completeImages(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	return a.suggest(c, begun, func(ctx context.Context, add func(name, about string) bool) {
		images, err := a.client().Images(ctx)
		for _, i := range images {
			if err != nil || !add(i.Name, byteCount(uint64(max(0, i.SizeBytes)))) {
				return
			}
		}
	})
}

// suggest collects what list adds and begins as the user began. An error means
// no suggestions: there is nobody to tell.
func (a *app) suggest(c *cobra.Command, begun string, list func(context.Context, func(name, about string) bool)) ([]string, cobra.ShellCompDirective) {
	if a.configure(c) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(c.Context(), completionTime)
	defer cancel()
	var found []string
	list(ctx, func(name, about string) bool {
		if strings.HasPrefix(name, begun) {
			found = append(found, clean(name)+"\t"+clean(about))
		}
		return len(found) < completionMax
	})
	return found, cobra.ShellCompDirectiveNoFileComp
}
